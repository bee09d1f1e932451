/**
 * Whose fault it is that a step takes longer than it may. A peer that keeps its connection and sends
 * far too slowly holds up everybody: who waits for its gradients knows that it does, who has all of
 * them and waits for a sum does not. The job fails with the first word, so whoever knows less speaks
 * later.
 */
import { AppError } from "@coxswain/domain";

/** What a worker has not sent whole. */
export interface Missing {
  readonly workerId: string;
  /** Gradients of its shards, or what it has added up for all. */
  readonly kind: "pieces" | "slice";
  readonly bytes: number;
  readonly ofBytes: number;
}

export interface OverdueInput {
  readonly workerId: string;
  readonly step: number;
  readonly ageMs: number;
  /** Seconds. */
  readonly stepTimeout: number;
  /** Undefined: not known. */
  readonly missing: readonly Missing[] | undefined;
}

/** Somebody who knows more may speak within this time. */
export const hearMs = 2000;
const namedMax = 3;

export function whyOverdue(input: OverdueInput): AppError | undefined {
  const { workerId, step, ageMs, stepTimeout, missing = [] } = input;
  const overMs = ageMs - stepTimeout * 1000;
  if (overMs <= 0) return undefined;
  const sentence = `step ${step} takes longer than ${stepTimeout} s`;
  const pieces = missing.filter(({ kind }) => kind === "pieces");
  const isOwn = missing.length === 0 || pieces.some((one) => one.workerId === workerId);
  if (isOwn) return new AppError("program-stuck", sentence);
  const awaited = pieces.length > 0 ? pieces : missing;
  if (overMs <= hearMs * (pieces.length > 0 ? 1 : 2)) return undefined;
  const slowest = awaited.toSorted((a, b) => shareOf(a) - shareOf(b)).slice(0, namedMax);
  const words = slowest.map(wordOf).join("; ");
  const more = awaited.length > namedMax ? `; and ${awaited.length - namedMax} more` : "";
  return new AppError("peer-slow", `${sentence}: ${words}${more}`, {
    details: { workerId: slowest[0]!.workerId },
  });
}

const shareOf = ({ bytes, ofBytes }: Missing) => bytes / ofBytes;

function wordOf({ workerId, kind, bytes, ofBytes }: Missing): string {
  const what = kind === "pieces" ? "the gradients of its shards" : "what it adds up for all";
  return `worker "${workerId}" keeps its connection, and has sent ${bytes} of ${ofBytes} bytes of ${what}`;
}
