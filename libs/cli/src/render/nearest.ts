/** Words that somebody may have meant. */

/** So many edits make another word of it. */
const editsMax = 3;
const suggestionsMax = 3;

/** The closest candidates first, ties in alphabetical order; a beginning of a word is close to it. */
export function nearest(given: string, candidates: readonly string[]): string[] {
  return [...new Set(candidates)]
    .map((word) => ({ word, edits: word.startsWith(given) ? 0 : editsBetween(given, word) }))
    .filter(({ edits }) => edits <= Math.min(editsMax, given.length / 2))
    .sort((a, b) => a.edits - b.edits || (a.word < b.word ? -1 : 1))
    .slice(0, suggestionsMax)
    .map(({ word }) => word);
}

/** Insertions, deletions and replacements from one word to the other (Levenshtein), row by row. */
export function editsBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
