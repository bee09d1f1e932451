/**
 * The agent of a node: brings the node's workers to the list that the scheduler wrote, passes on
 * their logs, and says how they ended.
 */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { AssignmentRecord, Bus, WantedWorker } from "@coxswain/bus";
import type { JobId } from "@coxswain/domain";
import type { NewEvent } from "@coxswain/events";
import { decideWorkers } from "../decide/decide-workers.ts";
import { type ExitReason, exitReasonOf } from "./exit-reason.ts";
import { forgetWorker, takeOver, type WorkerFile } from "./notes.ts";
import { type Ended, isAlive, startWorker } from "./process.ts";
import { tail } from "./tail.ts";

export interface AgentOptions {
  readonly nodeId: string;
  readonly folder: string;
  readonly leaveTimeoutMs: number;
  /** Environment of a worker, which sees these GPUs only. */
  readonly workerEnvironment: (
    wanted: WantedWorker,
    folder: string,
    gpus: readonly string[],
  ) => Readonly<Record<string, string>>;
  /** Ids of the GPUs that workers are given; undefined: they are not known. */
  readonly gpus?: readonly string[] | undefined;
}

export interface AgentPorts {
  readonly bus: Bus;
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly log: (sentence: string, fields: object) => void;
}

interface Running extends WorkerFile {
  askedToLeaveAtMs: number | undefined;
  readonly stopTail: AbortController;
  isTelling: boolean;
  /** Started by an agent before this one: its end shows only by looking. */
  readonly isAdopted: boolean;
}

const workersMax = 64;
const adoptedPollMs = 100;
const stopTimeoutMs = 8000;

/** Its agent was killed while it started it. */
const neverNoted: ExitReason = {
  ...{ isOrderly: false, generation: 0, step: 0 },
  error: { code: "worker-failed", message: "its agent ended while it started the worker" },
};

const neverStarted = { generation: 1, step: 0, reason: "it was not started" };

function leftEvent(
  { workerId, jobId }: Pick<WantedWorker, "workerId" | "jobId">,
  how: { readonly generation: number; readonly step: number; readonly reason: string },
): NewEvent {
  return {
    name: "worker.left",
    jobId: jobId as JobId,
    id: `${jobId}.worker.left.${workerId}`,
    source: "trainer",
    payload: { ...how, workerId, generation: Math.max(1, how.generation) },
  };
}

export class Agent {
  readonly #ports: AgentPorts;
  readonly #options: AgentOptions;
  readonly #running = new Map<string, Running>();
  readonly #used = new Set<string>();
  readonly #telling = new Set<Promise<void>>();
  /** A worker waits for GPUs that others still have. */
  #isHolding = false;
  #list: AssignmentRecord = { epoch: 0, workers: [] };
  #reconciling: Promise<void> = Promise.resolve();

  constructor(ports: AgentPorts, options: AgentOptions) {
    this.#ports = ports;
    this.#options = options;
  }

  get workerCount(): number {
    return this.#running.size;
  }

  /** Finds the workers of an earlier agent, then follows the list until `signal` aborts. */
  async run(): Promise<void> {
    const { bus, signal } = this.#ports;
    await this.#adopt();
    const ticking = this.#tick();
    for await (const { value } of bus
      .bucket("assignments")
      .watch({ key: this.#options.nodeId, signal })) {
      if (value === undefined || value.epoch < this.#list.epoch) continue;
      this.#list = value;
      await this.#reconcile();
    }
    await ticking;
    await this.#stopAll();
  }

  async #tick(): Promise<void> {
    const { signal } = this.#ports;
    while (!signal.aborted) {
      await delay(adoptedPollMs, undefined, { signal }).catch(() => undefined);
      for (const worker of [...this.#running.values()]) {
        if (worker.isAdopted && !worker.isTelling && !(await isAlive(worker)))
          this.#ended(worker.workerId, { exitCode: null, signal: null });
      }
      const someLeave = [...this.#running.values()].some(
        ({ askedToLeaveAtMs }) => askedToLeaveAtMs !== undefined,
      );
      if (someLeave || this.#isHolding) await this.#reconcile();
    }
  }

  async #adopt(): Promise<void> {
    for (const file of await takeOver(this.#options.folder)) {
      this.#used.add(file.workerId);
      this.#add(file, true);
      if (await isAlive(file))
        this.#ports.log("worker adopted", {
          jobId: file.jobId,
          workerId: file.workerId,
          pid: file.pid,
        });
      else this.#ended(file.workerId, { exitCode: null, signal: null });
    }
  }

  #folderOf(workerId: string): string {
    return join(this.#options.folder, workerId);
  }

  #add(file: WorkerFile, isAdopted: boolean): void {
    const stopTail = new AbortController();
    this.#running.set(file.workerId, {
      ...file,
      askedToLeaveAtMs: undefined,
      stopTail,
      isTelling: false,
      isAdopted,
    });
    const { jobId, workerId } = file;
    const onLine = (text: string) =>
      this.#ports.bus.appendLog({
        jobId,
        workerId,
        stream: "stdout",
        timeMs: this.#ports.now(),
        text,
      });
    tail(join(this.#folderOf(workerId), "output.log"), { signal: stopTail.signal, onLine }).catch(
      (error: unknown) => this.#ports.log("a log could not be followed", { workerId, err: error }),
    );
  }

  /** One at a time. */
  #reconcile(): Promise<void> {
    this.#reconciling = this.#reconciling.then(() => this.#bringToList());
    return this.#reconciling;
  }

  async #bringToList(): Promise<void> {
    const { now } = this.#ports;
    const running = [...this.#running.values()];
    const actions = decideWorkers({
      nowMs: now(),
      leaveTimeoutMs: this.#options.leaveTimeoutMs,
      wanted: this.#list.workers,
      running,
      used: this.#used,
      workersMax,
      gpus: this.#options.gpus,
    });
    this.#isHolding = actions.some(({ kind }) => kind === "hold-back");
    for (const action of actions) {
      if (action.kind === "hold-back") continue;
      if (action.kind === "start") await this.#start(action.wanted, action.gpus);
      else if (action.kind === "tell-left") this.#tellLeft(action.wanted);
      else if (action.kind === "ask-to-leave") this.#ask(action.workerId);
      else {
        this.#ports.log("worker killed", { workerId: action.workerId, reason: action.reason });
        this.#kill(action.workerId, "SIGKILL");
      }
    }
  }

  async #start(wanted: WantedWorker, gpus: readonly string[]): Promise<void> {
    const { workerId, jobId, resources } = wanted;
    this.#used.add(workerId);
    const folder = this.#folderOf(workerId);
    const { file, ended } = await startWorker(
      folder,
      { workerId, jobId, gpus },
      {
        environment: this.#options.workerEnvironment(wanted, folder, gpus),
        memoryMib: resources.memoryMib,
      },
    );
    this.#add(file, false);
    this.#ports.log("worker started", { jobId, workerId, pid: file.pid, gpus });
    // It may have ended already, and is known only now.
    void ended.then((how) => this.#ended(workerId, how));
  }

  /** Its job stopped before it was started: it never will be. */
  #tellLeft({ workerId, jobId }: WantedWorker): void {
    this.#used.add(workerId);
    const telling = this.#say(workerId, leftEvent({ workerId, jobId }, neverStarted)).finally(() =>
      this.#telling.delete(telling),
    );
    this.#telling.add(telling);
  }

  #ask(workerId: string): void {
    const worker = this.#running.get(workerId);
    if (worker === undefined) return;
    worker.askedToLeaveAtMs = this.#ports.now();
    this.#kill(workerId, "SIGTERM");
  }

  #kill(workerId: string, signal: NodeJS.Signals): void {
    const worker = this.#running.get(workerId);
    if (worker === undefined || worker.pid <= 0) return;
    try {
      process.kill(worker.pid, signal);
    } catch {
      // It has ended meanwhile; its end is told elsewhere.
    }
  }

  #ended(workerId: string, ended: Ended): void {
    const worker = this.#running.get(workerId);
    if (worker === undefined || worker.isTelling) return;
    worker.isTelling = true;
    worker.stopTail.abort();
    const telling = this.#tell(worker, ended).finally(() => {
      this.#telling.delete(telling);
    });
    this.#telling.add(telling);
  }

  /** Says how a worker ended, for as long as it takes: the others may wait for this word. */
  async #tell(worker: Running, ended: Ended): Promise<void> {
    const { bus, log, signal } = this.#ports;
    const { workerId, jobId } = worker;
    const folder = this.#folderOf(workerId);
    const reason =
      worker.isAdopted && worker.pid === 0
        ? neverNoted
        : await exitReasonOf(folder, ended, worker.askedToLeaveAtMs !== undefined);
    const event = this.#eventOf(worker, ended, reason);
    log("worker ended", {
      jobId,
      workerId,
      ...ended,
      ...(reason.isOrderly ? {} : { error: reason.error }),
    });
    await this.#say(workerId, event);
    this.#running.delete(workerId);
    if (!signal.aborted || bus.isConnected) await forgetWorker(folder);
  }

  async #say(workerId: string, event: NewEvent): Promise<void> {
    const { bus, log, signal } = this.#ports;
    for (let isTold = false; !isTold; ) {
      isTold = await bus.append(event).then(
        () => true,
        (error: unknown) => {
          log("the end of a worker could not be told", { workerId, err: error });
          return signal.aborted; // The next agent tells it: the worker's file stays.
        },
      );
    }
  }

  #eventOf(
    { workerId, jobId }: WorkerFile,
    ended: Ended,
    { isOrderly, error, generation, step }: ExitReason,
  ): NewEvent {
    const common = { jobId: jobId as JobId, source: "trainer" } as const;
    if (isOrderly)
      return leftEvent({ workerId, jobId }, { generation, step, reason: "left in good order" });
    const how = {
      ...(ended.exitCode === null ? {} : { exitCode: ended.exitCode }),
      ...(ended.signal === null ? {} : { signal: ended.signal }),
    };
    return {
      ...common,
      name: "worker.lost",
      id: `${jobId}.worker.${workerId}.lost`,
      payload: { workerId, nodeId: this.#options.nodeId, ...how, error },
    };
  }

  /** The node goes: everybody is asked to leave, then killed. */
  async #stopAll(): Promise<void> {
    for (const { workerId } of this.#running.values()) this.#ask(workerId);
    const deadlineMs = performance.now() + stopTimeoutMs;
    while (this.#running.size > 0 && performance.now() < deadlineMs) {
      for (const worker of this.#running.values())
        if (!(await isAlive(worker)))
          this.#ended(worker.workerId, { exitCode: null, signal: null });
      await delay(20);
    }
    for (const { workerId } of this.#running.values()) this.#kill(workerId, "SIGKILL");
    await Promise.race([Promise.all(this.#telling), delay(1000)]);
  }
}
