/**
 * A node: its agent, which may die and be started again, and its workers, which outlive it. The
 * agent decides by the real `decideWorkers`; processes and their files are simulated.
 */
import type { AssignmentRecord, Bus, WantedWorker } from "@coxswain/bus";
import { AppError, type JobId } from "@coxswain/domain";
import type { NewEvent } from "@coxswain/events";
import { decideWorkers } from "../../../services/trainer/src/decide/decide-workers.ts";
import type { SimProcess } from "./process.ts";
import { Trainer, type WorkerEnd } from "./training.ts";
import type { PlatformWorld } from "./world.ts";

const leaveTimeoutMs = 10_000;
const heartbeatMs = 1000;
const lookMs = 200;
const workersMax = 16;

interface Running {
  readonly workerId: string;
  readonly jobId: string;
  readonly trainer: Trainer;
  askedToLeaveAtMs: number | undefined;
  /** How it ended; undefined while it runs. */
  ended: { readonly how: WorkerEnd | "killed"; readonly error?: AppError | undefined } | undefined;
  isTelling: boolean;
}

export class SimNode {
  readonly world: PlatformWorld;
  readonly nodeId: string;
  readonly cpu: number;
  /** Its workers' files: what the next agent finds. */
  readonly running = new Map<string, Running>();
  readonly #used = new Set<string>();
  /** When its agent last gave a sign of life, and since when it has done so without a gap. */
  #beatAtMs = Number.NEGATIVE_INFINITY;
  beatingSinceMs = 0;

  constructor(world: PlatformWorld, nodeId: string, cpu: number) {
    this.world = world;
    this.nodeId = nodeId;
    this.cpu = cpu;
  }

  get workers(): readonly Trainer[] {
    return [...this.running.values()].flatMap(({ trainer, ended }) => (ended ? [] : [trainer]));
  }

  /** Power off: everything on it is gone. */
  die(): void {
    for (const { trainer } of this.running.values()) trainer.process.kill("its node is gone");
  }

  /** The agent's program. */
  async run(process: SimProcess): Promise<void> {
    const { bus, clock } = process;
    let list: AssignmentRecord = { epoch: 0, workers: [] };
    await this.#register(process);
    const beat = async () => {
      for (;;) {
        bus.signal(`hb.v1.node.${this.nodeId}`, {});
        if (!process.link.isCut) this.#beats();
        await clock.delay(heartbeatMs);
      }
    };
    const look = async () => {
      for (;;) {
        this.#bringTo(process, list);
        for (const worker of this.running.values()) this.#tellEnd(process, worker);
        await clock.delay(lookMs);
      }
    };
    void beat();
    void look();
    const { signal } = process.stop;
    for await (const { value } of bus.bucket("assignments").watch({ key: this.nodeId, signal })) {
      if (value === undefined || value.epoch < list.epoch) continue;
      list = value;
      this.#bringTo(process, list);
    }
  }

  #beats(): void {
    const { nowMs } = this.world;
    if (nowMs - this.#beatAtMs > 2 * heartbeatMs) this.beatingSinceMs = nowMs;
    this.#beatAtMs = nowMs;
  }

  /** For how long its agent has given signs of life, whether or not anybody could hear them. */
  get beatingMs(): number {
    const { nowMs } = this.world;
    return nowMs - this.#beatAtMs > 2 * heartbeatMs ? 0 : nowMs - this.beatingSinceMs;
  }

  async #register({ bus, clock }: SimProcess): Promise<void> {
    const record = {
      ...{ nodeId: this.nodeId, host: "h", labels: {}, startedAtMs: 0, agentVersion: "0" },
      capacity: { cpu: this.cpu, memoryMib: 10_000, gpu: 0 },
      engines: [this.world.engine],
    };
    for (;;) {
      try {
        await bus.bucket("nodes").put(this.nodeId, record);
        return;
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        await clock.delay(heartbeatMs);
      }
    }
  }

  #bringTo(process: SimProcess, { workers }: AssignmentRecord): void {
    const { clock } = process;
    const running = [...this.running.values()].filter(({ ended }) => ended === undefined);
    const actions = decideWorkers({
      ...{ nowMs: clock.nowMs(), leaveTimeoutMs, wanted: workers, running, used: this.#used },
      workersMax,
    });
    for (const action of actions) {
      if (action.kind === "start") this.#start(action.wanted);
      else if (action.kind === "tell-left") this.#tellLeft(process, action.wanted);
      else if (action.kind === "ask-to-leave") {
        const worker = this.running.get(action.workerId)!;
        worker.askedToLeaveAtMs = clock.nowMs();
        worker.trainer.leave();
      } else if (action.kind === "kill")
        this.running.get(action.workerId)!.trainer.process.kill(action.reason);
    }
  }

  #start({ workerId, jobId }: { readonly workerId: string; readonly jobId: string }): void {
    const { world, nodeId } = this;
    this.#used.add(workerId);
    const process = world.process(workerId);
    const group = world.groupOf(jobId);
    const trainer = new Trainer({
      ...{ process, group, workerId, nodeId, disk: world.disk, jobId: jobId as JobId },
      onEnd: (how, error) => {
        worker.ended ??= { how, error };
      },
    });
    const worker: Running = {
      ...{ workerId, jobId, trainer, askedToLeaveAtMs: undefined, ended: undefined },
      isTelling: false,
    };
    process.onDead(() => {
      worker.ended ??= { how: "killed" };
      trainer.gone();
    });
    this.running.set(workerId, worker);
    world.supervise(process, () => trainer.run());
  }

  /** Says how a worker ended, for as long as it takes. */
  #tellEnd({ bus, clock }: SimProcess, worker: Running): void {
    if (worker.ended === undefined || worker.isTelling) return;
    worker.isTelling = true;
    const event = this.#eventOf(worker, worker.ended);
    const tell = async () => {
      while (!(await isTold(bus, event))) await clock.delay(heartbeatMs);
      this.running.delete(worker.workerId);
    };
    void tell();
  }

  #tellLeft({ bus, clock }: SimProcess, { workerId, jobId }: WantedWorker): void {
    this.#used.add(workerId);
    const id = `${jobId}.worker.left.${workerId}`;
    const payload = { generation: 1, step: 0, workerId, reason: "it was not started" };
    const common = { jobId: jobId as JobId, source: "trainer" } as const;
    const tell = async () => {
      while (!(await isTold(bus, { ...common, name: "worker.left", id, payload })))
        await clock.delay(heartbeatMs);
    };
    void tell();
  }

  /** The agent died: whoever was telling tells no more. */
  agentDied(): void {
    this.#used.clear();
    for (const workerId of this.running.keys()) this.#used.add(workerId);
    for (const worker of this.running.values()) worker.isTelling = false;
  }

  #eventOf(
    { workerId, jobId, trainer }: Running,
    { how, error }: NonNullable<Running["ended"]>,
  ): NewEvent {
    const common = { jobId: jobId as JobId, source: "trainer" } as const;
    if (how === "left" || how === "finished") {
      const { generation, step } = this.world.groupOf(jobId);
      const payload = { generation: Math.max(1, generation), step, workerId, reason: how };
      return { ...common, name: "worker.left", id: `${jobId}.worker.left.${workerId}`, payload };
    }
    const message = error?.message ?? how;
    const code = how === "stale-generation" ? how : (error?.code ?? "worker-failed");
    const payload = { workerId, nodeId: trainer.nodeId, error: { code, message } };
    return { ...common, name: "worker.lost", id: `${jobId}.worker.${workerId}.lost`, payload };
  }
}

async function isTold(bus: Bus, event: NewEvent): Promise<boolean> {
  try {
    await bus.append(event);
    return true;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return false;
  }
}
