/** Requests that do not depend on each other, some at once. */
import pLimit from "p-limit";

/**
 * Acts on all of `items`, on `concurrency` of them at once. What fails once would fail for the rest:
 * after a failure none begins. Ends when nothing is on its way any more, so that whoever looks then
 * sees what there is.
 *
 * @throws what the first one that failed, in the order of `items`, failed with
 */
export async function sideBySide<Item>(
  items: Iterable<Item>,
  concurrency: number,
  act: (item: Item) => Promise<unknown>,
): Promise<void> {
  const limit = pLimit({ concurrency, rejectOnClear: true });
  const acting = Array.from(items, (item) =>
    limit(async () => {
      try {
        await act(item);
      } catch (error) {
        limit.clearQueue();
        throw error;
      }
    }),
  );
  const ends = await Promise.allSettled(acting);
  // Those that were not begun were refused too, and stand behind all that were.
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}
