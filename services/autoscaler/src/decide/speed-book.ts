/** What has been measured of a job, folded from its events: the median speed for each number of workers. */
import type { StoredEvent } from "@coxswain/events";
import type { Measured } from "./speed-curve.ts";

/** The newest reports count; older ones may be of another machine load. */
const reportsMax = 15;
const countsMax = 64;

export interface SpeedBook {
  readonly reports: ReadonlyMap<number, readonly number[]>;
  readonly changedAtMs: number;
  /** The first report of a generation spans the change itself. */
  readonly skipNext: boolean;
  readonly isFixedByUser: boolean;
}

export const emptyBook: SpeedBook = {
  reports: new Map(),
  changedAtMs: 0,
  skipNext: true,
  isFixedByUser: false,
};

export function note(book: SpeedBook, event: StoredEvent): SpeedBook {
  switch (event.name) {
    case "training.generation-formed":
      return { ...book, changedAtMs: event.timeMs, skipNext: true };
    case "job.workers-wanted":
      return { ...book, changedAtMs: event.timeMs };
    case "job.resize-requested":
      return { ...book, isFixedByUser: event.payload.workersWanted !== undefined };
    case "training.progressed": {
      if (book.skipNext) return { ...book, skipNext: false };
      const { workers, samplesPerSecond } = event.payload;
      if (samplesPerSecond <= 0 || (!book.reports.has(workers) && book.reports.size >= countsMax))
        return book;
      const reports = new Map(book.reports);
      reports.set(workers, [...(reports.get(workers) ?? []), samplesPerSecond].slice(-reportsMax));
      return { ...book, reports };
    }
    default:
      return book;
  }
}

/** Counts with at least three reports, each with its median. */
export function measuredOf(book: SpeedBook): Measured[] {
  return [...book.reports]
    .filter(([, speeds]) => speeds.length >= 3)
    .map(([workers, speeds]) => ({
      workers,
      samplesPerSecond: speeds.toSorted((a, b) => a - b)[Math.floor(speeds.length / 2)]!,
    }))
    .sort((a, b) => a.workers - b.workers);
}
