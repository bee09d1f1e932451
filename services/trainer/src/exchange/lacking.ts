/** What a reduction still waits for, and of whom: for people, when it takes too long. */
import { type ShardRange, sliceOf } from "../decide/shards.ts";

/** What the member of this rank has not sent whole: the own slice of its pieces, or its finished slice. */
export interface Lacking {
  readonly rank: number;
  readonly kind: "pieces" | "slice";
  readonly bytes: number;
  readonly ofBytes: number;
}

interface Arrived {
  readonly bytes: number;
}

export interface LackingInput {
  readonly rank: number;
  readonly ranges: readonly ShardRange[];
  readonly vectorFloats: number;
  /** All pieces, and of whom; those that have begun to arrive. */
  readonly pieces: ReadonlyMap<string, number>;
  readonly here: ReadonlyMap<string, Arrived>;
  /** Finished slices that have begun to arrive, by rank; those that were read where they lie. */
  readonly results: ReadonlyMap<number, Arrived>;
  readonly resultsHere: ReadonlySet<number>;
}

export function lackingOf(input: LackingInput): readonly Lacking[] {
  return [...input.ranges.keys()]
    .flatMap((of) => [piecesFrom(input, of), ...sliceFrom(input, of)])
    .filter(({ bytes, ofBytes }) => bytes < ofBytes);
}

const bytesOf = ({ ranges, vectorFloats }: LackingInput, slice: number) => {
  const { from, to } = sliceOf(vectorFloats, slice, ranges.length);
  return (to - from) * 4;
};

function piecesFrom(input: LackingInput, of: number): Lacking {
  const keys = [...input.pieces].flatMap(([key, rank]) => (rank === of ? [key] : []));
  const bytes = keys.reduce((sum, key) => sum + (input.here.get(key)?.bytes ?? 0), 0);
  return { rank: of, kind: "pieces", bytes, ofBytes: keys.length * bytesOf(input, input.rank) };
}

function sliceFrom(input: LackingInput, of: number): Lacking[] {
  if (of === input.rank || input.resultsHere.has(of)) return [];
  const bytes = input.results.get(of)?.bytes ?? 0;
  return [{ rank: of, kind: "slice", bytes, ofBytes: bytesOf(input, of) }];
}
