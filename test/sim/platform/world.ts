/**
 * The whole platform in one process: every service's real loop on the simulated bus, on simulated
 * time, over a simulated disk; nodes and workers as in `node.ts` and `training.ts`.
 */
import { AppError, type JobId } from "@coxswain/domain";
import { runAutoscaler } from "../../../services/autoscaler/src/service.ts";
import { runCheckpoints } from "../../../services/checkpoint/src/service.ts";
import { type Api, buildApi } from "../../../services/job-api/src/service.ts";
import { runScheduler } from "../../../services/scheduler/src/service.ts";
import type { Network } from "../bus/network.ts";
import { buildNetwork } from "../bus/start.ts";
import { type Random, randomFor } from "../lib/random.ts";
import { Stage } from "../lib/stage.ts";
import { Disk, storeOn } from "./disk.ts";
import { Invariants } from "./invariants.ts";
import { leaseTtlMs, nodeTimeoutMs } from "./limits.ts";
import { SimNode } from "./node.ts";
import { SimProcess } from "./process.ts";
import { engine, Group, keepBeating } from "./training.ts";

const restartMs = 300;
const nodeCpus = [3, 2] as const;

type Program = (process: SimProcess) => Promise<unknown>;

/** A program that somebody starts again whenever it ends. */
export interface Service {
  readonly name: string;
  process: SimProcess;
  /** Nobody starts it again. */
  isLost: boolean;
}

export class PlatformWorld extends Stage {
  readonly random: Random;
  readonly network: Network;
  readonly disk = new Disk();
  readonly engine = engine;
  readonly services: Service[] = [];
  readonly nodes: readonly SimNode[];
  readonly invariants: Invariants;
  readonly groups = new Map<string, Group>();
  /** Done to the next scheduler that has decided something and has not said it yet. */
  onDecided: ((scheduler: SimProcess) => void) | undefined;
  /** Of the job-api that lives now; undefined while it reads the log. */
  api: Api | undefined;

  constructor(seed: number) {
    super();
    this.random = randomFor(seed, "platform");
    this.network = buildNetwork({
      clock: { nowMs: () => this.nowMs, later: (ms, act) => void this.at(ms, act) },
      random: randomFor(seed, "network"),
    });
    this.#watchDecisions();
    this.invariants = new Invariants(this);
    this.nodes = nodeCpus.map((cpu, index) => new SimNode(this, `n${index + 1}`, cpu));
    this.#startServices();
  }

  #watchDecisions(): void {
    const { server } = this.network;
    const options = { name: "DECISIONS", subjects: ["dec.v1.>"], discard: "old" } as const;
    const decisions = server.addStream(options);
    let next = 1;
    decisions.onChange(() => {
      for (;;) {
        const message = decisions.next(next, [">"]);
        if (message === undefined) return;
        next = message.seq + 1;
        const { kind } = JSON.parse(new TextDecoder().decode(message.data));
        const { speaker } = this.network;
        const service = this.services.find(({ process }) => process.link === speaker);
        if (kind !== "decided" || service === undefined) continue;
        this.onDecided?.(service.process);
      }
    });
  }

  process(name: string): SimProcess {
    return new SimProcess(this, this.network, name);
  }

  groupOf(jobId: string): Group {
    const known = this.groups.get(jobId);
    if (known !== undefined) return known;
    const group = new Group();
    this.groups.set(jobId, group);
    keepBeating(this, group);
    return group;
  }

  /** Runs a program once: an expected failure ends its process, anything else is a bug. */
  supervise(process: SimProcess, run: () => Promise<unknown>): void {
    run().then(
      () => process.kill("it has ended"),
      (error: unknown) => {
        if (error instanceof AppError) process.kill(error.message);
        else this.fail(`${process.name}: ${(error as Error).stack ?? error}`);
      },
    );
  }

  #startServices(): void {
    for (const name of ["scheduler-1", "scheduler-2"])
      this.#keep(name, (one) => this.#schedule(one));
    this.#keep("checkpoint", (process) => {
      const store = storeOn(this.disk, process.clock);
      return runCheckpoints({ ...this.#ports(process), store });
    });
    this.#keep("autoscaler", (process) =>
      runAutoscaler(this.#ports(process), {
        ...{ cycleIntervalMs: 2000, freezeMs: 3000, gainMin: 0.1, batchGainMin: 0.1 },
      }),
    );
    this.#keep("job-api", (process) => this.#serve(process));
    for (const node of this.nodes)
      this.#keep(
        `agent-${node.nodeId}`,
        (process) => node.run(process),
        () => node.agentDied(),
      );
  }

  #ports(process: SimProcess) {
    return {
      ...{ bus: process.bus, signal: process.stop.signal, now: () => process.clock.wallMs() },
      log: (sentence: string, fields: object) =>
        this.note(`${process.name} ${sentence} ${JSON.stringify(fields)}`),
    };
  }

  #schedule(process: SimProcess): Promise<void> {
    return runScheduler(this.#ports(process), {
      ...{ cycleIntervalMs: 1000, leaseTtlMs, nodeTimeoutMs, freezeMs: 2000 },
    });
  }

  async #serve(process: SimProcess): Promise<void> {
    const { bus, signal, log } = this.#ports(process);
    const api = buildApi(bus, signal, log);
    await api.view.caughtUp;
    this.api = api;
    await api.view.done;
  }

  /** It dies, and is not started again. */
  loseService(name: string): void {
    const service = this.services.find((one) => one.name === name)!;
    service.isLost = true;
    service.process.kill("lost for good");
  }

  /** Starts the program, and again a little after each of its ends. */
  #keep(name: string, program: Program, onDead: () => void = () => undefined): void {
    const service: Service = { name, process: this.process(name), isLost: false };
    this.services.push(service);
    const start = () => {
      const { process } = service;
      process.onDead(() => {
        if (name === "job-api") this.api = undefined;
        onDead();
        this.at(restartMs + this.random() * 1000, () => {
          if (service.isLost) return;
          service.process = this.process(name);
          start();
        });
      });
      this.supervise(process, () => program(process));
    };
    start();
  }

  jobOf(jobId: string) {
    return this.invariants.jobs.get(jobId as JobId);
  }
}
