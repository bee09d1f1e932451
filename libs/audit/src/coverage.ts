/** How often each of the numbers `0 <= n < end` is covered by ranges. */

export interface Range {
  readonly from: number;
  readonly to: number;
}

export interface Coverage {
  /** Different numbers covered. */
  readonly covered: number;
  /** Coverings beyond the first. */
  readonly twice: number;
  readonly skipped: number;
}

/** Ranges in any order, overlapping or not; what reaches beyond `end` counts as covered. */
export function coverageOf(ranges: readonly Range[], end: number): Coverage {
  const sorted = ranges.filter(({ from, to }) => to > from).toSorted((a, b) => a.from - b.from);
  let reached = 0;
  let covered = 0;
  let total = 0;
  let skipped = 0;
  for (const { from, to } of sorted) {
    total += to - from;
    skipped += Math.max(0, Math.min(from, end) - reached);
    covered += Math.max(0, to - Math.max(from, reached));
    reached = Math.max(reached, to);
  }
  skipped += Math.max(0, end - reached);
  return { covered, twice: total - covered, skipped };
}
