/** What a worker keeps an eye on while it trains: its peers, its step, the record, its agent. */
import type { Bus } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import { whyOverdue } from "../decide/overdue.ts";
import type { Peers } from "../exchange/peers.ts";
import type { WorkerConfig } from "./config.ts";
import type { JobContext } from "./job-context.ts";
import type { GroupMembership } from "./member.ts";

const watchIntervalMs = 500;
/** Recording runs the step four times, operator by operator. */
const recordingSteps = 4;

type Fail = (error: AppError, step: number) => void;

export interface WatchOptions {
  /** Seconds. */
  readonly stepTimeout: number;
  /** A peer that is silent for longer is lost. */
  readonly timeoutMs: number;
  readonly fail: Fail;
}

type Watched = Pick<GroupMembership, "stepAgeMs" | "step" | "missing">;

/** Heartbeats, and steps that take too long. Returns what ends it. */
export function keepWatch(
  { stepTimeout, timeoutMs, fail }: WatchOptions,
  peers: Pick<Peers, "heartbeat">,
  group: Watched & Pick<GroupMembership, "tick">,
  workerId: string,
): () => void {
  const heartbeat = setInterval(() => peers.heartbeat(timeoutMs), timeoutMs / 3);
  const watchdog = setInterval(() => {
    group.tick();
    const error = overdueOf(group, { workerId, stepTimeout });
    if (error !== undefined) fail(error, group.step);
  }, watchIntervalMs);
  return () => {
    clearInterval(heartbeat);
    clearInterval(watchdog);
  };
}

/** Why the present step may not go on, and whose fault it is. */
export function overdueOf(
  group: Watched,
  known: { readonly workerId: string; readonly stepTimeout: number },
): AppError | undefined {
  const ageMs = group.stepAgeMs;
  if (ageMs <= known.stepTimeout * 1000) return undefined;
  return whyOverdue({ ...known, ageMs, step: group.step, missing: group.missing });
}

/** The program's step runs for the first time, before there are steps to watch. */
export function limitRecording(stepTimeout: number, compiled: Promise<unknown>, fail: Fail): void {
  const timer = setTimeout(
    () => {
      const sentence = `the first steps take longer than ${stepTimeout} s each`;
      fail(new AppError("program-stuck", sentence), 0);
    },
    recordingSteps * stepTimeout * 1000,
  );
  void compiled.then(() => clearTimeout(timer));
}

/** A decision that did not reach this worker, or one without it. */
export async function watchRecord(
  bus: Pick<Bus, "bucket">,
  { jobId, signal }: { readonly jobId: string; readonly signal: AbortSignal },
  group: Pick<GroupMembership, "seeRecord">,
): Promise<void> {
  const watched = bus.bucket("membership").watch({ key: jobId, signal });
  for await (const { value } of watched) if (value !== undefined) group.seeRecord(value);
}

/**
 * A worker without an agent sees for itself whether it is wanted: a signal that came before it could
 * hear is lost, what the log says is not.
 */
export function watchPlacement(
  context: Pick<JobContext, "job" | "onEvent">,
  workerId: string,
  onUnwanted: () => void,
): void {
  const look = () => {
    const { state, placement } = context.job();
    const isPlaced = placement.some((placed) => placed.workerId === workerId);
    if (state.kind === "stopping" || !isPlaced) onUnwanted();
  };
  look();
  context.onEvent(({ name }) => {
    if (name.startsWith("job.")) look();
  });
}

/**
 * Nobody would end a worker whose agent is gone for good, or pass on its logs: it leaves by itself.
 * While the bus is away nothing can be heard, and that says nothing about the agent.
 */
export async function watchAgent(
  ports: { readonly bus: Bus; readonly config: WorkerConfig; readonly signal: AbortSignal },
  onGone: () => void,
): Promise<void> {
  const { bus, config, signal } = ports;
  const timeoutMs = config.AGENT_TIMEOUT_MS;
  if (timeoutMs === 0) return;
  let heardMs = performance.now();
  const timer = setInterval(() => {
    if (!bus.isConnected) heardMs = performance.now();
    if (performance.now() - heardMs <= timeoutMs) return;
    clearInterval(timer);
    onGone();
  }, timeoutMs / 10);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  const heard = bus.listen(`hb.v1.node.${config.COXSWAIN_NODE_ID}`, { signal });
  for await (const _ of heard) heardMs = performance.now();
}
