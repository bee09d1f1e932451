/**
 * What is left goes to running jobs that want more, and what is unfairly shared is shared anew.
 *
 * Growth: one worker at a time, to the queue with the smallest weighted share, there to the job with
 * the fewest workers, then the more important. So equal jobs that grow come to differ by one worker
 * at most. Workers that would stand by get what nobody else wants.
 *
 * Jobs that are alike stand in groups (`job-groups.ts`), and one that finds no room speaks for all of
 * its shape: in a full cluster a cycle asks as many jobs as there are shapes, however many are hungry.
 */
import type { Job } from "@coxswain/domain";
import {
  addWorker,
  type Cycle,
  compareNeed,
  type Draft,
  draftOf,
  growsTo,
  hasGiven,
  isHungry,
  isRestless,
  lacksStandby,
  type Need,
} from "./draft.ts";
import type { JobGroup } from "./job-groups.ts";
import { shareAnew } from "./share-anew.ts";

export function growAndShare(cycle: Cycle): void {
  cycle.isRestless = isRestless(cycle);
  const left = new Growth(cycle, isHungry).run();
  shareAnew(cycle, left);
  new Growth(cycle, lacksStandby).run();
}

/** Touched jobs that want more, and have not given anything away in this cycle. */
function touched(cycle: Cycle, wantsMore: (draft: Draft) => boolean): Draft[] {
  return [...cycle.drafts.values()].filter(
    (draft) => wantsMore(draft) && !hasGiven(draft) && hasYetToGrow(cycle, draft),
  );
}

const hasYetToGrow = (cycle: Cycle, { job, workers }: Draft) =>
  workers.length < growsTo(cycle, job);

/** Jobs of one queue that want more: those that were touched, and groups of those that were not. */
interface Line {
  readonly queue: string;
  /** In order of need. */
  readonly drafts: Draft[];
  readonly groups: { readonly group: JobGroup; at: number }[];
}

class Growth {
  readonly #cycle: Cycle;
  readonly #wantsMore: (draft: Draft) => boolean;
  readonly #lines = new Map<string, Line>();
  readonly #full = new Set<string>();
  readonly #left: Draft[] = [];

  constructor(cycle: Cycle, wantsMore: (draft: Draft) => boolean) {
    this.#cycle = cycle;
    this.#wantsMore = wantsMore;
    for (const draft of touched(cycle, wantsMore))
      insert(this.#line(draft.job.spec.queue).drafts, draft);
    for (const [queue, groups] of cycle.state.holders.takers.byQueue)
      for (const group of groups.values())
        if (wantsMore === lacksStandby || !group.isServed)
          this.#line(queue).groups.push({ group, at: 0 });
  }

  #line(queue: string): Line {
    let line = this.#lines.get(queue);
    if (line === undefined) {
      line = { queue, drafts: [], groups: [] };
      this.#lines.set(queue, line);
    }
    return line;
  }

  /** Returns those of the touched that still want more. */
  run(): Draft[] {
    for (let line = this.#first(); line !== undefined; line = this.#first()) {
      const jobId = this.#neediest(line);
      if (jobId === undefined) this.#lines.delete(line.queue);
      else this.#serve(line, jobId);
    }
    return this.#left;
  }

  /** The queue with the smallest share. */
  #first(): Line | undefined {
    const { quotas, room } = this.#cycle.state;
    let first: { readonly line: Line; readonly share: number } | undefined;
    for (const line of this.#lines.values()) {
      const share = quotas.shareOf(line.queue, room.capacity);
      const isLess =
        first === undefined ||
        share < first.share ||
        (share === first.share && line.queue < first.line.queue);
      if (isLess) first = { line, share };
    }
    return first?.line;
  }

  #neediest(line: Line): string | undefined {
    this.#leaveFull(line);
    const [draft] = line.drafts;
    let best = draft && { count: draft.workers.length, job: draft.job };
    for (const one of line.groups) {
      const job = this.#headOf(one);
      if (job === undefined) continue;
      const head = { count: one.group.count, job };
      if (best === undefined || compareNeed(head, best) < 0) best = head;
    }
    return best?.job.id;
  }

  /** Nobody whose shape found no room is asked again. */
  #leaveFull(line: Line): void {
    const isFull = ({ job }: Draft) => this.#full.has(this.#shapeOf(job.id));
    while (line.drafts[0] !== undefined && isFull(line.drafts[0]))
      this.#left.push(line.drafts.shift()!);
  }

  #shapeOf(jobId: string): string {
    return this.#cycle.state.held.get(jobId)!.shape;
  }

  /** The oldest of a group that may grow; those that were touched stand among the drafts. */
  #headOf(one: Line["groups"][number]): Job | undefined {
    if (this.#full.has(one.group.shape)) return undefined;
    const { state, drafts } = this.#cycle;
    for (; one.at < one.group.jobs.length; one.at += 1) {
      const { job } = state.held.get(one.group.jobs[one.at]!.id)!;
      if (!drafts.has(job.id) && one.group.count < growsTo(this.#cycle, job)) return job;
    }
    return undefined;
  }

  #serve(line: Line, jobId: string): void {
    const { drafts } = this.#cycle;
    const isTouched = drafts.has(jobId);
    const draft = draftOf(this.#cycle, jobId);
    if (isTouched) line.drafts.shift();
    if (addWorker(this.#cycle, draft)) {
      draft.reason = draft.reason || "grows towards the wanted number of workers";
      if (this.#wantsMore(draft) && hasYetToGrow(this.#cycle, draft)) insert(line.drafts, draft);
      return;
    }
    this.#full.add(this.#shapeOf(jobId));
    if (isTouched) this.#left.push(draft);
    else drafts.delete(jobId);
  }
}

/** Keeps the line in order of need. */
function insert(line: Draft[], draft: Draft): void {
  const needOf = ({ workers, job }: Draft): Need => ({ count: workers.length, job });
  const need = needOf(draft);
  let [low, high] = [0, line.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareNeed(needOf(line[middle]!), need) <= 0) low = middle + 1;
    else high = middle;
  }
  line.splice(low, 0, draft);
}
