/**
 * What has been measured of a job, folded from its events: the median speed for each number of
 * workers, what a change of workers costs, and whether the last prediction came true.
 */
import type { StoredEvent } from "@coxswain/events";
import type { GradientNoise } from "@coxswain/goodput";
import type { Measured } from "./speed-model.ts";

/** The newest reports count; older ones may be of another machine load. */
const reportsMax = 15;
const reportsMin = 3;
const countsMax = 64;
/** What a join was measured to cost (docs/benchmarks.md, recovery), until the job shows its own. */
const moveSecondsDefault = 0.092;

interface Reports {
  readonly workers: number;
  readonly updateSize: number | undefined;
  readonly nodes: number;
  readonly speeds: readonly number[];
}

/** What was expected of a number of workers when it was asked for. */
export interface Prediction {
  readonly workers: number;
  readonly samplesPerSecond: number;
  /** Measured with that number since. */
  readonly speeds: readonly number[];
}

export interface SpeedBook {
  /** By workers and batch. */
  readonly reports: ReadonlyMap<string, Reports>;
  /** Samples of an update; undefined: the job's batch. */
  readonly updateSize: number | undefined;
  readonly changedAtMs: number;
  /** The first report of a generation spans the change itself. */
  readonly skipNext: boolean;
  readonly isFixedByUser: boolean;
  /** Nodes that hold the present generation. */
  readonly nodes: number;
  /** Of changes that nobody's death caused. */
  readonly moveSeconds: readonly number[];
  readonly prediction: Prediction | undefined;
  /** Of the whole batch's gradient, as the trainers told it last. */
  readonly noise: GradientNoise | undefined;
}

export const emptyBook: SpeedBook = {
  reports: new Map(),
  updateSize: undefined,
  changedAtMs: 0,
  skipNext: true,
  isFixedByUser: false,
  nodes: 1,
  moveSeconds: [],
  prediction: undefined,
  noise: undefined,
};

export function note(book: SpeedBook, event: StoredEvent): SpeedBook {
  switch (event.name) {
    case "training.generation-formed": {
      const { members, cause, agreedMs } = event.payload;
      const isMove = (cause === "join" || cause === "leave") && agreedMs !== undefined;
      return {
        ...book,
        changedAtMs: event.timeMs,
        skipNext: true,
        nodes: new Set(members.map(({ nodeId }) => nodeId)).size,
        moveSeconds: isMove
          ? [...book.moveSeconds, agreedMs / 1000].slice(-reportsMax)
          : book.moveSeconds,
      };
    }
    case "job.workers-wanted": {
      const { workersWanted, expectedSamplesPerSecond } = event.payload;
      const prediction =
        expectedSamplesPerSecond === undefined
          ? undefined
          : { workers: workersWanted, samplesPerSecond: expectedSamplesPerSecond, speeds: [] };
      return { ...book, changedAtMs: event.timeMs, prediction };
    }
    case "job.resize-requested":
      return { ...book, isFixedByUser: event.payload.workersWanted !== undefined };
    case "training.progressed": {
      const { gradientNoise = book.noise, batchSize: updateSize } = event.payload;
      return noteSpeed({ ...book, noise: gradientNoise, updateSize }, event.payload);
    }
    default:
      return book;
  }
}

function noteSpeed(
  book: SpeedBook,
  { workers, samplesPerSecond }: { readonly workers: number; readonly samplesPerSecond: number },
): SpeedBook {
  if (book.skipNext) return { ...book, skipNext: false };
  const { updateSize } = book;
  const key = `${workers} x ${updateSize}`;
  if (samplesPerSecond <= 0 || (!book.reports.has(key) && book.reports.size >= countsMax))
    return book;
  const before = book.reports.get(key)?.speeds ?? [];
  const reports = new Map(book.reports);
  reports.set(key, {
    ...{ workers, updateSize },
    nodes: book.nodes,
    speeds: [...before, samplesPerSecond].slice(-reportsMax),
  });
  const { prediction } = book;
  if (prediction?.workers !== workers) return { ...book, reports };
  const speeds = [...prediction.speeds, samplesPerSecond].slice(-reportsMax);
  return { ...book, reports, prediction: { ...prediction, speeds } };
}

/** Counts and batches with at least three reports, each with its median, counts ascending. */
export function measuredOf(book: SpeedBook): Measured[] {
  return [...book.reports.values()]
    .filter(({ speeds }) => speeds.length >= reportsMin)
    .map(({ workers, nodes, speeds, updateSize }) => ({
      ...{ workers, nodes, samplesPerSecond: median(speeds) },
      ...(updateSize === undefined ? {} : { updateSize }),
    }))
    .sort((a, b) => a.workers - b.workers);
}

export function moveSecondsOf({ moveSeconds }: SpeedBook): number {
  return moveSeconds.length === 0 ? moveSecondsDefault : median(moveSeconds);
}

export interface Outcome {
  readonly workers: number;
  readonly expectedSamplesPerSecond: number;
  readonly observedSamplesPerSecond: number;
}

/** The last prediction beside what was measured since; undefined until it is. */
export function outcomeOf({ prediction }: SpeedBook): Outcome | undefined {
  if (prediction === undefined || prediction.speeds.length < reportsMin) return undefined;
  const { workers, samplesPerSecond, speeds } = prediction;
  return {
    workers,
    expectedSamplesPerSecond: samplesPerSecond,
    observedSamplesPerSecond: median(speeds),
  };
}

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
