/** What an agent does about its node's workers: those it shall have against those it has. */
/** What identifies a worker that the scheduler wants here; the rest is for whoever starts it. */
interface Wanted {
  readonly workerId: string;
  readonly isLeaving?: boolean;
  readonly resources?: { readonly gpu: number };
}

export interface RunningWorker {
  readonly workerId: string;
  readonly jobId: string;
  /** When it was asked to leave, Unix ms. */
  readonly askedToLeaveAtMs: number | undefined;
  /** Ids of the GPUs that are its own until it has ended. */
  readonly gpus?: readonly string[];
}

export type WorkerAction<W extends Wanted> =
  | { readonly kind: "start"; readonly wanted: W; readonly gpus: readonly string[] }
  /** Its GPUs are still those of workers that leave: it starts when they have. */
  | { readonly kind: "hold-back"; readonly wanted: W }
  /** It leaves before it was ever started: nobody else would say so. */
  | { readonly kind: "tell-left"; readonly wanted: W }
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
  /** Ids of the node's GPUs; undefined: they are not known, and workers see what there is. */
  readonly gpus?: readonly string[] | undefined;
}

/** Leaves and kills first, then starts, so that room is made before it is taken. */
export function decideWorkers<W extends Wanted>(input: WorkersInput<W>): WorkerAction<W>[] {
  const staying = input.wanted.filter(({ isLeaving }) => !isLeaving);
  const wantedIds = new Set(staying.map(({ workerId }) => workerId));
  const runningIds = new Set(input.running.map(({ workerId }) => workerId));
  const ends = input.running
    .filter(({ workerId }) => !wantedIds.has(workerId))
    .flatMap((worker) => endOf(worker, input));
  const room = Math.max(0, input.workersMax - input.running.length);
  const isNew = ({ workerId }: W) => !runningIds.has(workerId) && !input.used.has(workerId);
  const neverStarted = input.wanted
    .filter((wanted) => wanted.isLeaving && isNew(wanted))
    .map((wanted): WorkerAction<W> => ({ kind: "tell-left", wanted }));
  const starts = withGpus(staying.filter(isNew).slice(0, room), input);
  return [...ends, ...neverStarted, ...starts];
}

/** Each its own GPUs, the first free ones. */
function withGpus<W extends Wanted>(
  starting: readonly W[],
  { gpus, running }: Pick<WorkersInput<W>, "gpus" | "running">,
): WorkerAction<W>[] {
  const taken = new Set(running.flatMap((worker) => worker.gpus ?? []));
  const free = (gpus ?? []).filter((gpu) => !taken.has(gpu));
  return starting.map((wanted) => {
    const count = gpus === undefined ? 0 : (wanted.resources?.gpu ?? 0);
    if (count > free.length) return { kind: "hold-back", wanted };
    return { kind: "start", wanted, gpus: free.splice(0, count) };
  });
}

function endOf(
  { workerId, askedToLeaveAtMs }: RunningWorker,
  { nowMs, leaveTimeoutMs }: Pick<WorkersInput<Wanted>, "nowMs" | "leaveTimeoutMs">,
): Extract<WorkerAction<never>, { workerId: string }>[] {
  if (askedToLeaveAtMs === undefined) return [{ kind: "ask-to-leave", workerId }];
  if (nowMs - askedToLeaveAtMs <= leaveTimeoutMs) return [];
  return [{ kind: "kill", workerId, reason: `it did not leave within ${leaveTimeoutMs} ms` }];
}
