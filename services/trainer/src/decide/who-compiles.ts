/** Which worker of a job makes its compiled program, so that not all of them do the same work. */
import type { Job } from "@coxswain/domain";

/**
 * `nobody` when it is there already; `me` when I am the first of those placed who live, or not
 * placed at all, so that nobody else may count on me.
 */
export function whoCompiles(
  { compiled, placement }: Pick<Job, "compiled" | "placement">,
  me: string,
): "nobody" | "me" | "another" {
  if (compiled !== undefined) return "nobody";
  const isPlaced = placement.some(({ workerId }) => workerId === me);
  return isPlaced && placement[0]?.workerId !== me ? "another" : "me";
}
