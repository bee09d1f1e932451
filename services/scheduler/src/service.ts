/** The scheduler's loop: hold the lease, look, decide, apply, tell the launcher; again. */
import { setTimeout as delay } from "node:timers/promises";
import { type Bus, followJobs, type JobsView, type Lease } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import { type Decision, decidePlacement, isAboutJob } from "@coxswain/scheduling";
import { applyDecision } from "./apply.ts";
import { buildAgentLauncher, type Launcher, type Machines } from "./io/launcher.ts";
import { followNodes, type Nodes } from "./io/nodes.ts";
import { wantedByNode } from "./wanted-by-node.ts";

export interface Ports {
  readonly bus: Bus;
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly log: (sentence: string, fields: object) => void;
  /** Where workers run; absent: on nodes with an agent. */
  readonly openMachines?: (onChange: () => void) => Machines;
}

export interface Options {
  readonly cycleIntervalMs: number;
  readonly leaseTtlMs: number;
  readonly nodeTimeoutMs: number;
}

const projectionTimeoutMs = 2000;

export async function runScheduler(ports: Ports, options: Options): Promise<void> {
  const { bus, signal, log } = ports;
  let wake = Promise.withResolvers<void>();
  const lookAgain = () => wake.resolve();
  const traceparents = new Map<string, string>();
  const view = followJobs(bus, {
    signal,
    onEvent: (event) => {
      if (event.name === "job.submitted" && event.traceparent !== undefined)
        traceparents.set(event.jobId, event.traceparent);
      // Progress changes no placement.
      if (event.name !== "training.progressed" && event.name !== "checkpoint.written") lookAgain();
    },
    onRefused: (event, reason) =>
      log("a fact was refused", { name: event.name, sequence: event.sequence, reason }),
  });
  const openMachines = ports.openMachines ?? ((onChange) => agents(ports, options, onChange));
  const machines = openMachines(lookAgain);
  await Promise.race([Promise.all([view.caughtUp, machines.ready]), aborted(signal)]);

  while (!signal.aborted) {
    const lease = await bus
      .acquireLease("scheduler", { ttlMs: options.leaseTtlMs, signal })
      .catch(() => undefined);
    if (lease === undefined) break;
    log("lease acquired", { epoch: lease.epoch });
    const launcher = machines.launcher(lease.epoch);
    while (!signal.aborted && !lease.lost.aborted) {
      wake = Promise.withResolvers();
      try {
        await cycle({ ...ports, view, nodes: machines.nodes, lease, launcher, traceparents });
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        log("cycle failed", { code: error.code, message: error.message });
        if (error.code === "stale-epoch") break;
        await delay(100);
      }
      await Promise.race([
        wake.promise,
        delay(options.cycleIntervalMs, undefined, { ref: false }),
        aborted(signal),
        aborted(lease.lost),
      ]);
    }
    await lease.release();
  }
  await view.done;
}

function agents({ bus, signal, now }: Ports, options: Options, onChange: () => void): Machines {
  const timeoutMs = options.nodeTimeoutMs;
  return {
    nodes: followNodes(bus, { timeoutMs, signal, now, onChange }),
    ready: Promise.resolve(),
    launcher: (epoch) => buildAgentLauncher(bus, epoch),
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
  readonly nodes: Nodes;
  readonly lease: Lease;
  readonly launcher: Launcher;
  readonly traceparents: ReadonlyMap<string, string>;
}

/** One cycle: look once, decide, do. Returns what it decided, for logs and tests. */
export async function cycle(ports: CyclePorts): Promise<Decision[]> {
  const { bus, view, nodes, lease, launcher, now, log } = ports;
  const nowMs = now();
  const snapshot = { nowMs, jobs: [...view.jobs.values()], nodes: nodes.view(nowMs) };
  const decisions = decidePlacement(snapshot);
  for (const decision of decisions.filter(isAboutJob)) {
    if (lease.lost.aborted) return decisions;
    const job = view.jobs.get(decision.jobId)!;
    const isSaid = await applyDecision({ bus, epoch: lease.epoch, log }, decision, job);
    if (isSaid)
      await view.reached(await bus.lastJobSequence(decision.jobId as never), projectionTimeoutMs);
  }
  if (!lease.lost.aborted)
    await launcher.apply(wantedByNode(view.jobs.values(), ports.traceparents), view.jobs);
  return decisions;
}
