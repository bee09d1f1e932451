/** What an agent does about its node's workers: those it shall have against those it has. */
/** What identifies a worker that the scheduler wants here; the rest is for whoever starts it. */
interface Wanted {
  readonly workerId: string;
}

export interface RunningWorker {
  readonly workerId: string;
  readonly jobId: string;
  /** When it was asked to leave, Unix ms. */
  readonly askedToLeaveAtMs: number | undefined;
}

export type WorkerAction<W extends Wanted> =
  | { readonly kind: "start"; readonly wanted: W }
  | { readonly kind: "ask-to-leave"; readonly workerId: string }
  | { readonly kind: "kill"; readonly workerId: string; readonly reason: string };

export interface WorkersInput<W extends Wanted> {
  readonly nowMs: number;
  readonly leaveTimeoutMs: number;
  readonly wanted: readonly W[];
  readonly running: readonly RunningWorker[];
  /** Workers that were started before and have ended: an id is used once. */
  readonly used: ReadonlySet<string>;
  readonly workersMax: number;
}

/** Leaves and kills first, then starts, so that room is made before it is taken. */
export function decideWorkers<W extends Wanted>(input: WorkersInput<W>): WorkerAction<W>[] {
  const wantedIds = new Set(input.wanted.map(({ workerId }) => workerId));
  const runningIds = new Set(input.running.map(({ workerId }) => workerId));
  const ends = input.running
    .filter(({ workerId }) => !wantedIds.has(workerId))
    .flatMap((worker) => endOf(worker, input));
  const room = Math.max(0, input.workersMax - input.running.length);
  const starts = input.wanted
    .filter(({ workerId }) => !runningIds.has(workerId) && !input.used.has(workerId))
    .slice(0, room)
    .map((wanted): WorkerAction<W> => ({ kind: "start", wanted }));
  return [...ends, ...starts];
}

function endOf(
  { workerId, askedToLeaveAtMs }: RunningWorker,
  { nowMs, leaveTimeoutMs }: Pick<WorkersInput<Wanted>, "nowMs" | "leaveTimeoutMs">,
): Exclude<WorkerAction<never>, { kind: "start" }>[] {
  if (askedToLeaveAtMs === undefined) return [{ kind: "ask-to-leave", workerId }];
  if (nowMs - askedToLeaveAtMs <= leaveTimeoutMs) return [];
  return [{ kind: "kill", workerId, reason: `it did not leave within ${leaveTimeoutMs} ms` }];
}
