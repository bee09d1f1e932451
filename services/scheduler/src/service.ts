/** The scheduler's loop: hold the lease, look, decide, apply, tell the launcher; again. */
import { type Bus, followJobs, type JobsView, type Lease, within } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import {
  type Decision,
  defaultPolicy,
  isAboutJob,
  KeptState,
  type Policy,
} from "@coxswain/scheduling";
import { record, withSpan } from "@coxswain/service";
import { applyDecision } from "./apply.ts";
import { measurementsOf } from "./decide/measurements-of.ts";
import { buildAgentLauncher, type Launcher, type Machines } from "./io/launcher.ts";
import { followNodes, type Nodes } from "./io/nodes.ts";
import { buildRecorder, type Recorder } from "./io/recorder.ts";
import { followTenants, type Tenants } from "./io/tenants.ts";
import { WantedByNode } from "./wanted-by-node.ts";

export interface Ports {
  readonly bus: Bus;
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly log: (sentence: string, fields: object) => void;
  /** Where workers run; absent: on nodes with an agent. */
  readonly openMachines?: (onChange: () => void) => Machines;
}

export interface Options extends Partial<Policy> {
  readonly cycleIntervalMs: number;
  readonly leaseTtlMs: number;
  readonly nodeTimeoutMs: number;
}

const projectionTimeoutMs = 2000;
const retryMs = 100;

export async function runScheduler(ports: Ports, options: Options): Promise<void> {
  const { bus, signal, log } = ports;
  let wake = Promise.withResolvers<void>();
  const lookAgain = () => wake.resolve();
  let isLeading = false;
  const state = new KeptState();
  const wanted = new WantedByNode();
  const view: JobsView = followJobs(bus, {
    signal,
    onEvent: (event, job, before) => {
      if (job !== undefined && job !== before) {
        state.setJob(job);
        wanted.setJob(job, view.traceparents.get(job.id));
      }
      // History was counted by whoever led when it was told.
      if (view.isCaughtUp && isLeading)
        for (const measurement of measurementsOf(event, before, ports.now())) record(measurement);
      // Progress changes no placement.
      if (event.name !== "training.progressed" && event.name !== "checkpoint.written") lookAgain();
    },
    onRefused: (event, reason) =>
      log("a fact was refused", { name: event.name, sequence: event.sequence, reason }),
  });
  const openMachines = ports.openMachines ?? ((onChange) => agents(ports, options, onChange));
  const machines = openMachines(lookAgain);
  const tenants = await followTenants(bus, { signal, onChange: lookAgain });
  await Promise.race([Promise.all([view.caughtUp, machines.ready]), aborted(signal)]);
  signal.addEventListener("abort", lookAgain, { once: true });
  const { freezeMs = defaultPolicy.freezeMs, nodeChoice } = options;
  const policy = { freezeMs, ...(nodeChoice === undefined ? {} : { nodeChoice }) };

  while (!signal.aborted) {
    const lease = await bus
      .acquireLease("scheduler", { ttlMs: options.leaseTtlMs, signal })
      .catch(() => undefined);
    if (lease === undefined) break;
    log("lease acquired", { epoch: lease.epoch });
    const launcher = machines.launcher(lease.epoch);
    const recorder = buildRecorder(bus, lease.epoch);
    const own = { ...ports, view, state, wanted, nodes: machines.nodes, tenants, policy };
    isLeading = true;
    lease.lost.addEventListener("abort", lookAgain, { once: true });
    while (!signal.aborted && !lease.lost.aborted) {
      wake = Promise.withResolvers();
      if (!(await attempt(() => cycle({ ...own, lease, launcher, recorder }), ports))) break;
      if (!signal.aborted && !lease.lost.aborted)
        await within(bus.clock, wake.promise, options.cycleIntervalMs);
    }
    isLeading = false;
    await lease.release();
  }
  await view.done;
}

/** Returns false when another scheduler has taken over. An expected failure is told and tried again. */
async function attempt(act: () => Promise<unknown>, { bus, log }: Ports): Promise<boolean> {
  try {
    await act();
    return true;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    log("cycle failed", { code: error.code, message: error.message });
    if (error.code === "stale-epoch") return false;
    await bus.clock.delay(retryMs);
    return true;
  }
}

function agents({ bus, signal }: Ports, options: Options, onChange: () => void): Machines {
  const timeoutMs = options.nodeTimeoutMs;
  const nodes = followNodes(bus, { timeoutMs, signal, onChange });
  return {
    nodes,
    ready: Promise.resolve(),
    launcher: (epoch) => {
      nodes.hearAnew();
      return buildAgentLauncher(bus, epoch);
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true }),
  );
}

export interface CyclePorts extends Ports {
  readonly view: JobsView;
  /** Told of each job of the view as it is folded. */
  readonly state: KeptState;
  readonly wanted: WantedByNode;
  readonly nodes: Nodes;
  readonly tenants: Tenants;
  readonly policy: Policy;
  readonly recorder: Recorder;
  readonly lease: Lease;
  readonly launcher: Launcher;
}

/** One cycle: look once, decide, do. Returns what it decided, for logs and tests. */
export async function cycle(ports: CyclePorts): Promise<Decision[]> {
  const { bus, view, state, nodes, lease, launcher, now, log } = ports;
  const nowMs = state.notBefore(now());
  const { sequence } = view;
  const look = {
    nodes: nodes.view(nowMs),
    queues: ports.tenants.queues(),
    services: ports.tenants.services(),
    policy: ports.policy,
  };
  const startedMs = performance.now();
  const decisions = state.decide(look, nowMs);
  record({ metric: "decisionDuration", value: (performance.now() - startedMs) / 1000 });
  // A decision is recorded before anybody can see what came of it.
  await ports.recorder.record(look, { nowMs, sequence, decisions });
  for (const decision of decisions.filter(isAboutJob)) {
    if (lease.lost.aborted) return decisions;
    const job = view.jobs.get(decision.jobId)!;
    const isSaid = await withSpan(
      {
        name: `decide ${decision.kind}`,
        traceparent: view.traceparents.get(job.id),
        attributes: { jobId: job.id },
      },
      () => applyDecision({ bus, epoch: lease.epoch, log }, decision, job),
    );
    if (isSaid)
      await view.reached(await bus.lastJobSequence(decision.jobId as never), projectionTimeoutMs);
  }
  for (const { service, kind: _, ...room } of decisions.filter((one) => one.kind === "reserve"))
    if (!lease.lost.aborted) await ports.tenants.reserve(service, { epoch: lease.epoch, ...room });
  if (!lease.lost.aborted) await launcher.apply(ports.wanted.lists(), view.jobs);
  return decisions;
}
