/**
 * A job's workers in one process, on simulated time: the real membership, agreement, exchange, transfer,
 * ledger and checkpoint code over connections, a record, a log and compute threads that the simulation
 * owns.
 */
import { equal } from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Bucket, Bus, MembershipRecord } from "@coxswain/bus";
import { AppError, type BatchChange, type Job, next, strideAt } from "@coxswain/domain";
import type { Layout } from "@coxswain/engine";
import type { StoredEvent } from "@coxswain/events";
import type { BatchWanted } from "../../services/trainer/src/decide/agreement.ts";
import { type ExchangeMode, halvesOf } from "../../services/trainer/src/decide/shards.ts";
import { Board } from "../../services/trainer/src/exchange/board.ts";
import { BoardReduce } from "../../services/trainer/src/exchange/board-reduce.ts";
import {
  type Frame,
  type FrameHead,
  frameTypes,
  parseFrame,
  vectorFrames,
} from "../../services/trainer/src/exchange/frames.ts";
import type { BoardGroup } from "../../services/trainer/src/exchange/group-exchange.ts";
import {
  allocate,
  beginWrite,
  metricsIn,
  vectorsOf,
} from "../../services/trainer/src/exchange/memory.ts";
import type { ControlMessage } from "../../services/trainer/src/exchange/peers.ts";
import type { Compute } from "../../services/trainer/src/worker/compute.ts";
import type {
  Compiled,
  ComputeOrder,
  ComputeUpdate,
} from "../../services/trainer/src/worker/compute-messages.ts";
import { Course } from "../../services/trainer/src/worker/course.ts";
import { Gate } from "../../services/trainer/src/worker/gate.ts";
import { enterGroup } from "../../services/trainer/src/worker/join.ts";
import { Ledger } from "../../services/trainer/src/worker/ledger.ts";
import { GroupMembership } from "../../services/trainer/src/worker/member.ts";
import { nextInRun } from "../../services/trainer/src/worker/next-in-run.ts";
import { RecordAcceptor } from "../../services/trainer/src/worker/record-acceptor.ts";
import type { SaveOptions, Saver } from "../../services/trainer/src/worker/saver.ts";
import { Transfer } from "../../services/trainer/src/worker/transfer.ts";
import { Facts, jobId } from "./group-facts.ts";
import { type Random, randomFor, randomOf } from "./lib/random.ts";
import { Stage } from "./lib/stage.ts";
import { simulatedSaver } from "./platform/saver.ts";

export const shards = 8;
/** Samples of a step. */
const batchSize = shards;
const layout: Layout = {
  segments: [{ name: "w", shape: [32], offset: 0, size: 32 }],
  parameterFloats: 32,
  metricNames: ["loss"],
  vectorFloats: 48,
  slotCount: 0,
};
const compiled = {
  ...{ kind: "compiled", identity: "sim", hash: "h", mode: "recorded", layout },
  ...{ samplesTrain: 500, samplesTest: 10, modelTopology: undefined },
} as const satisfies Compiled;
const checkpointEverySteps = 40;
const farewellMs = 10_000;

/** The made-up gradient of a shard: depends on everything that a real one depends on. */
function gradient(step: number, shard: number, parameters: Float32Array, out: Float32Array): void {
  const random = randomOf(step * 977 + shard * 31 + 5);
  for (let i = 0; i < 32; i += 1)
    out[i] = (random() - 0.5) * 1e3 ** random() + 0.1 * parameters[i]!;
  out[32] = random();
}

/** The mean over the steps of an update. */
function gradientOf({ step, steps }: Span, shard: number, parameters: Float32Array): Float32Array {
  const [out, further] = [new Float32Array(48), new Float32Array(48)];
  gradient(step, shard, parameters, out);
  for (let more = 1; more < steps; more += 1) {
    gradient(step + more, shard, parameters, further);
    for (let i = 0; i < 48; i += 1) out[i]! += further[i]!;
  }
  if (steps > 1) for (let i = 0; i < 48; i += 1) out[i]! *= Math.fround(1 / steps);
  return out;
}

type Span = Pick<ComputeOrder, "step" | "steps">;

function update(parameters: Float32Array, reduced: Float32Array, factor: number): void {
  const rate = 0.01 * factor;
  for (let i = 0; i < 32; i += 1) parameters[i] = parameters[i]! - rate * reduced[i]!;
}

const kernels = {
  add: (out: Float32Array, a: Float32Array, b: Float32Array) => {
    for (let i = 0; i < out.length; i += 1) out[i] = a[i]! + b[i]!;
  },
  copy: (out: Float32Array, from: Float32Array) => out.set(from),
  put: (out: Float32Array, offset: number, from: Uint8Array) =>
    new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(from, offset),
};

const hashOf = (parameters: Float32Array) =>
  createHash("sha256").update(new Uint8Array(parameters.slice().buffer)).digest("hex");

/** The parameters' hash after each update, by its first step, by the plainest code. */
export function oracleOf(steps: number, changes: readonly BatchChange[] = []): string[] {
  const parameters = new Float32Array(32).fill(1);
  const hashes: string[] = [];
  const course = { batchSize, steps, changes };
  for (let step = 0; step < steps; ) {
    const stride = strideAt(course, step);
    const span = { step, steps: stride.steps };
    const sum = (lo: number, size: number): Float32Array => {
      if (size === 1) return gradientOf(span, lo, parameters);
      const out = new Float32Array(48);
      const [a, b] = [sum(lo, size / 2), sum(lo + size / 2, size / 2)];
      for (let i = 0; i < 48; i += 1) out[i] = a[i]! + b[i]!;
      return out;
    };
    update(parameters, sum(0, shards), stride.learningRateFactor);
    hashes[step] = hashOf(parameters);
    step += stride.steps;
  }
  return hashes;
}

interface Link {
  lastMs: number;
  /** Nothing comes through any more; both ends notice some time later. */
  isBroken: boolean;
}

export class World extends Stage {
  readonly random: Random;
  readonly steps: number;
  readonly sharesMemory: boolean;
  /** Compute threads add up by themselves where they can. */
  readonly usesBoards: boolean;
  /** How much longer a shard takes than some milliseconds: how many updates a run has depends on it. */
  pace = 1;
  /** No message takes long, and none is lost. */
  isCalm = false;
  /** So many train, the others stand by; undefined: all train. */
  trainingMax: number | undefined;
  readonly oracle: readonly string[];
  readonly exchange: ExchangeMode;
  /** Those that were formed, or written down by somebody who could not form them any more. */
  readonly #generations = new Set<number>();
  readonly #oracles = new Map<string, readonly string[]>();
  batchWanted: BatchWanted | undefined;
  #decision = 0;
  /** The newest batch that anybody has made an update with. */
  usedDecision = 0;
  readonly workers = new Map<string, SimWorker>();
  readonly facts: Facts;
  readonly knownDead = new Set<string>();
  readonly cuts = new Set<string>();
  record: { value: MembershipRecord; revision: number } | undefined;

  /** @param oracle of no use with `fast`: then the members must have equal bits, whatever they are */
  constructor(
    seed: number,
    steps: number,
    oracle: readonly string[],
    exchange: ExchangeMode = "exact",
  ) {
    super();
    this.exchange = exchange;
    this.random = randomFor(seed, "group");
    this.steps = steps;
    this.sharesMemory = seed % 2 === 0;
    this.usesBoards = seed % 4 === 0;
    this.oracle = oracle;
    this.facts = new Facts({
      stage: this,
      seed,
      shards,
      batchSize,
      exchange,
      checkpointEverySteps,
    });
    this.facts.onGrown = () => {
      for (const worker of this.alive()) worker.hearFacts();
    };
  }

  /** A worker has applied a step: so have the others of its generation, to the same bits. */
  checkBits(worker: SimWorker, step: number): void {
    const hash = worker.hashes.get(step);
    if (this.exchange === "exact")
      return this.check(
        hash,
        this.#oracleFor(worker.batches)[step],
        `${worker.id} has the oracle's bits`,
      );
    const { generation, rank } = worker.group;
    if (rank < 0) return;
    for (const other of this.alive())
      if (other.group.rank >= 0 && other.group.generation === generation && other.hashes.has(step))
        this.check(other.hashes.get(step), hash, `step ${step} of ${worker.id} and ${other.id}`);
  }

  /** What the weights are is a function of the batches that the generation names, and of nothing else. */
  #oracleFor(batches: readonly BatchChange[]): readonly string[] {
    if (batches.length === 0) return this.oracle;
    const key = JSON.stringify(batches);
    let oracle = this.#oracles.get(key);
    if (oracle === undefined) {
      oracle = oracleOf(this.steps, batches);
      this.#oracles.set(key, oracle);
    }
    return oracle;
  }

  /** Somebody asks for another batch. */
  wantBatch(stepsOfUpdate: number): void {
    this.#decision += 1;
    this.note(`wanted: ${stepsOfUpdate} steps an update`);
    this.batchWanted = {
      batchSize: stepsOfUpdate * batchSize,
      learningRateFactor: stepsOfUpdate ** 0.5,
      decision: this.#decision,
    };
  }

  /** Who starts over undoes what the newest generation has committed: nobody of it may be alive. */
  checkFounding(founder: SimWorker, generation: number, cause: string): void {
    this.#generations.add(generation);
    const before = Math.max(0, ...[...this.#generations].filter((one) => one < generation));
    if (cause !== "start" && cause !== "restore") return;
    const inForce = this.usedDecision;
    // Just after: its ledger is told of the generation only then.
    this.at(0, () => {
      if ((founder.batches.at(-1)?.decision ?? 0) < inForce)
        this.fail(`${founder.id} starts over and does not know a batch that was in force`);
    });
    for (const { id, how, group } of this.workers.values())
      if (
        how === undefined &&
        id !== founder.id &&
        group.generation === before &&
        before > 0 &&
        group.rank >= 0
      )
        this.fail(`${founder.id} starts over while ${id} lives, a member of generation ${before}`);
  }

  recordSays(value: MembershipRecord): void {
    this.record = { value, revision: (this.record?.revision ?? 0) + 1 };
    this.#generations.add(value.generation);
  }

  latency(): number {
    return 0.2 + this.random() * (this.random() < 0.05 && !this.isCalm ? 80 : 3);
  }

  isCut(a: string, b: string): boolean {
    return this.cuts.has([a, b].sort().join("|"));
  }

  cut(a: string, b: string): void {
    this.cuts.add([a, b].sort().join("|"));
    this.note(`cut ${a} ${b}`);
    this.workers.get(a)?.breakLink(b);
    this.workers.get(b)?.breakLink(a);
  }

  alive(): SimWorker[] {
    return [...this.workers.values()].filter((worker) => worker.how === undefined);
  }
}

export class SimWorker {
  readonly world: World;
  readonly id: string;
  readonly #parked: (() => void)[] = [];
  readonly #links = new Map<string, Link>();
  readonly #stop = new AbortController();
  readonly group: GroupMembership;
  readonly #transfer: Transfer;
  readonly #parameters: Float32Array;
  readonly #vectors;
  readonly #board: Board;
  readonly #gate = new Gate(layout.metricNames);
  #reduce: BoardReduce | undefined;
  #workMs = 0;
  /** What the compute thread works on; it hears of a newer one a little later. */
  #order = 0;
  #newestOrder = 0;
  #mailMs = 0;
  #parametersStep = 0;
  readonly #ledger: Ledger;
  readonly #course: Course;
  /** What this worker has read of the log. */
  #factsRead = 0;
  #job: Job | undefined;
  readonly #knownDead = new Set<string>();
  /** How much longer a shard takes here than elsewhere. */
  slowness = 1;
  #isWarm = false;
  #wasMember = false;
  isPaused = false;
  #isBusAway = false;
  isTrained = false;
  how: string | undefined;
  /** Of the parameters after each step that this worker has applied. */
  readonly hashes = new Map<number, string>();

  constructor(world: World, id: string) {
    this.world = world;
    this.id = id;
    world.workers.set(id, this);
    const areas = allocate(layout, shards);
    this.#vectors = vectorsOf(areas);
    this.#board = new Board(this.#vectors.board, undefined);
    this.#parameters = this.#vectors.parameters;
    const clock = this.#clock();
    const record = this.#record();
    const compute = this.#compute();
    const bus = this.#bus(clock);
    const ledger = this.#buildLedger(bus);
    this.#ledger = ledger;
    const me = { workerId: id, nodeId: "n", address: id };
    this.#course = this.#buildCourse(bus, me);
    this.#readFacts();
    this.group = new GroupMembership({
      ...{ me, shards, exchange: world.exchange, steps: world.steps, batchSize },
      batchWanted: () => (this.isBusAway ? undefined : world.batchWanted),
      ...{ clock, compute, ledger, peers: this },
      compiled,
      vectors: this.#vectors,
      gate: this.#gate,
      kernels,
      // Half of the worlds share memory: then a worker reads the others' vectors where they lie.
      ...(world.sharesMemory && { sharing: this.#sharing() }),
      record: new RecordAcceptor(record, "job"),
      knownDead: () => this.#knownDead,
      log: (sentence, fields) => this.#log(sentence, fields),
      trainingMax: () => world.trainingMax,
      onJoined: () => undefined,
      onCommitted: (committed) => {
        world.facts.committed = Math.max(world.facts.committed, committed.next);
        this.#course.committed(committed);
      },
      mustStopBetween: (step, next) => this.#course.mustStopBetween(step, next),
      onTrained: () => {
        this.isTrained = true;
        ledger.committed(world.steps);
      },
      onGone: (how) => this.end(how),
      onFailed: (error) => {
        throw error;
      },
    });
    this.#transfer = new Transfer({
      ...{ clock, compute, ledger, programHash: compiled.hash, stateFloats: 32 },
      membership: () => this.group,
      onMismatch: () => {
        throw new Error("the program differs");
      },
    });
    void ledger.run();
    void enterGroup({
      ...{ me, record, clock, ledger, compiled, peers: this, log: () => undefined },
      compute: { ...compute, load: this.#heard((from, floats) => this.#restore(from, floats)) },
      onPassedOver: ({ step }, reason) => world.fail(`checkpoint ${step} is not whole: ${reason}`),
      job: () => this.#job!,
      store: world.facts.store(clock),
      steps: world.steps,
      membership: this.group,
      transfer: this.#transfer,
      knownDead: () => this.#knownDead,
      signal: this.#stop.signal,
    });
    const tick = () => {
      this.group.tick();
      this.later(500, tick);
    };
    this.later(500, tick);
  }

  get batches(): readonly BatchChange[] {
    return this.#ledger.generations.at(-1)?.batches ?? [];
  }

  get isBusAway(): boolean {
    return this.#isBusAway;
  }
  set isBusAway(isAway: boolean) {
    this.#isBusAway = isAway;
    if (!isAway) this.hearFacts();
  }

  #sharing() {
    return {
      // Mapped memory stays when its process is gone.
      windowOf: (id: string) => this.world.workers.get(id)!.#vectors,
      windowIndexOf: (id: string) =>
        this.world.usesBoards ? [...this.world.workers.keys()].indexOf(id) : undefined,
      isMappedBy: (id: string) => this.#links.has(id),
      forgetLost: () => undefined,
    };
  }

  #log(sentence: string, fields: object): void {
    this.world.note(`${this.id} ${sentence} ${JSON.stringify(fields)}`);
    if (sentence !== "generation formed") return;
    const { generation, members, cause, ...rest } = fields as {
      readonly generation: number;
      readonly fromStep: number;
      readonly step: number;
      readonly isPlanned?: true;
      readonly members: readonly string[];
      readonly cause: string;
    };
    const startsAlone = this.#wasMember ? cause : members.length === 1 ? "restore" : cause;
    if (members.includes(this.id)) this.world.checkFounding(this, generation, startsAlone);
    this.#wasMember ||= members.includes(this.id);
    if (rest.isPlanned && rest.step > rest.fromStep)
      this.world.fail(`${this.id} went on beyond step ${rest.fromStep}, planned for ${generation}`);
    // What only the dead had agreed on does not count.
    for (const { id, how, group } of this.world.workers.values()) {
      if (how !== undefined || id === this.id || group.generation !== generation) continue;
      const theirs = group.members.map(({ workerId }) => workerId).join();
      this.world.check(members.join(), theirs, `generation ${generation} is one and the same`);
    }
  }

  /** Acts when this worker lives and runs. */
  act(action: () => void): void {
    if (this.how !== undefined) return;
    if (this.isPaused) this.#parked.push(action);
    else action();
  }

  later(delayMs: number, action: () => void) {
    return this.world.at(delayMs, () => this.act(action));
  }

  /** As SIGTERM. */
  leave(): void {
    void this.#course.leave();
  }

  pause(): void {
    this.isPaused = true;
    this.world.note(`pause ${this.id}`);
    for (const other of this.#links.keys())
      this.world.at(1000, () => this.isPaused && this.world.workers.get(other)?.lose(this.id));
  }

  resume(): void {
    this.isPaused = false;
    this.world.note(`resume ${this.id}`);
    for (const action of this.#parked.splice(0)) this.act(action);
  }

  end(how: string): void {
    if (this.how !== undefined) return;
    this.how = how;
    this.world.note(`end ${this.id} ${how}`);
    this.#stop.abort();
    for (const other of this.#links.keys())
      this.world.at(this.world.latency(), () => this.world.workers.get(other)?.lose(this.id));
    this.world.at(200 + this.world.random() * 500, () => {
      this.world.knownDead.add(this.id);
      this.world.facts.lost(this.id);
    });
  }

  #clock(): Bus["clock"] {
    return {
      nowMs: () => this.world.nowMs,
      wallMs: () => Math.floor(this.world.nowMs),
      delay: (ms, signal) =>
        new Promise((resolve) => {
          const timer = this.later(ms, resolve);
          signal?.addEventListener("abort", () => {
            this.world.cancel(timer);
            resolve();
          });
        }),
    };
  }

  // --- connections ---

  connect(other: string): Promise<boolean> {
    if (this.#links.has(other)) return Promise.resolve(true);
    const { world } = this;
    return new Promise((resolve) =>
      this.later(world.latency(), () => {
        const peer = world.workers.get(other);
        const isOpen =
          peer?.how === undefined && peer?.isPaused === false && !world.isCut(this.id, other);
        if (isOpen && !peer.#links.has(this.id)) {
          this.#links.set(other, { lastMs: 0, isBroken: false });
          peer.#links.set(this.id, { lastMs: 0, isBroken: false });
          peer.act(() => peer.group.onConnected(this.id));
          this.group.onConnected(other);
        }
        resolve(this.#links.has(other));
      }),
    );
  }

  isConnected(other: string): boolean {
    return this.#links.has(other);
  }

  /** The connection is seen to be closed. */
  lose(other: string): void {
    this.act(() => {
      if (!this.#links.delete(other)) return;
      this.group.onLost(other);
      this.#hangUp(other, this.world.latency());
    });
  }

  breakLink(other: string): void {
    const link = this.#links.get(other);
    if (link === undefined) return;
    link.isBroken = true;
    this.world.at(300 + this.world.random() * 900, () => {
      if (this.#links.get(other) === link) this.lose(other);
    });
  }

  drop(other: string): void {
    const link = this.#links.get(other);
    if (!this.#links.delete(other)) return;
    const atMs = Math.max(this.world.nowMs + this.world.latency(), (link?.lastMs ?? 0) + 0.001);
    this.#hangUp(other, atMs - this.world.nowMs);
  }

  /** The other end of the present connection closes; a later one is another one. */
  #hangUp(other: string, delayMs: number): void {
    const peer = this.world.workers.get(other);
    if (peer === undefined) return;
    const theirs = peer.#links.get(this.id);
    this.world.at(delayMs, () => {
      if (peer.#links.get(this.id) === theirs) peer.lose(this.id);
    });
  }

  #deliver(other: string, receive: (peer: SimWorker) => void): void {
    const link = this.#links.get(other);
    if (link === undefined || this.how !== undefined) return;
    const { world } = this;
    link.lastMs = Math.max(link.lastMs + 0.001, world.nowMs + world.latency());
    world.at(link.lastMs - world.nowMs, () => {
      if (link.isBroken) return;
      const peer = world.workers.get(other);
      peer?.act(() => peer.#links.has(this.id) && receive(peer));
    });
  }

  send(other: string, frame: Buffer): void {
    const copy = Buffer.from(frame); // As a socket would.
    this.#deliver(other, (peer) => {
      const parsed = parseFrame(copy);
      equal(parsed.kind, "frame");
      if (parsed.kind === "frame") peer.#onFrame(this.id, parsed.frame);
      copy.fill(0xa5); // The next frame is read into the same memory.
    });
  }

  sendVector(other: string, head: FrameHead, vector: Float32Array): void {
    for (const frame of vectorFrames(head, vector)) this.send(other, frame);
  }

  forgetVectors(): undefined {
    return undefined;
  }

  #onFrame(from: string, frame: Frame): void {
    if (frame.type === frameTypes.snapshot) this.#transfer.onFrame(from, frame);
    else this.group.onFrame(from, frame);
  }

  tell(other: string, message: ControlMessage): void {
    const text = JSON.stringify(message);
    this.#deliver(other, (peer) => {
      const told = JSON.parse(text) as ControlMessage;
      if (told.kind === "snapshot") peer.#transfer.onSnapshot(this.id, told);
      else if (told.kind === "formed") peer.#transfer.onFormed(this.id, told);
      else peer.group.onControl(this.id, told);
    });
  }

  queuedBytes(): number {
    return 0;
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  // --- the record ---

  #record(): Bucket<MembershipRecord> {
    const { world } = this;
    const ask = <Result>(serve: () => Result): Promise<Result> =>
      new Promise((resolve, reject) => {
        const away = () => this.later(2000, () => reject(new AppError("bus-unavailable", "away")));
        if (this.isBusAway) return void away();
        world.at(world.latency(), () => {
          try {
            const result = serve();
            if (world.random() < 0.03 && !world.isCalm)
              away(); // Done, but nobody hears of it.
            else this.later(world.latency(), () => resolve(result));
          } catch (error) {
            this.later(world.latency(), () => reject(error as Error));
          }
        });
      });
    const write = (value: MembershipRecord, expected: number) => {
      if ((world.record?.revision ?? 0) !== expected) throw new AppError("conflict", "too late");
      world.recordSays(JSON.parse(JSON.stringify(value)));
      for (const worker of world.workers.values()) worker.watchRecord();
      return expected + 1;
    };
    const port = {
      get: () => ask(() => world.record && { key: "job", ...structuredClone(world.record) }),
      create: (_: string, value: MembershipRecord) => ask(() => write(value, 0)),
      update: (_: string, value: MembershipRecord, revision: number) =>
        ask(() => write(value, revision)),
    };
    return port as unknown as Bucket<MembershipRecord>;
  }

  watchRecord(): void {
    const seen = structuredClone(this.world.record?.value);
    this.later(this.world.latency(), () => {
      if (seen !== undefined && !this.isBusAway) this.group.seeRecord(seen);
    });
  }

  // --- the compute thread ---

  #compute() {
    const { world } = this;
    const loaded = this.#heard((from: number, floats: Float32Array, step: number) => {
      this.#parameters.set(floats, from);
      this.#parametersStep = step;
      this.hashes.clear();
      const course = { batchSize, steps: world.steps, changes: this.batches };
      let last = -1;
      for (let at = 0; at < this.#parametersStep; at += strideAt(course, at).steps) last = at;
      if (last < 0) return;
      this.hashes.set(last, hashOf(this.#parameters));
      world.checkBits(this, last);
    });
    return {
      initialize: this.#heard(() => {
        this.#isWarm = true;
        this.#parameters.fill(1);
        this.hashes.clear();
        this.#parametersStep = 0;
      }),
      load: (from: number, floats: Float32Array) => loaded(from, floats, this.group.step),
      copy: this.#heard(() => ({
        ...{ kind: "copied" as const, id: 0, weightsSha256: undefined },
        floats: this.#parameters.slice(),
      })),
      warm: this.#heard(() => {
        this.#isWarm = true;
      }),
      expect: () => undefined,
      forgetOrders: () => {
        this.#newestOrder += 1;
        if (!world.usesBoards) this.#order = this.#newestOrder;
      },
      apply: this.#heard((applied: ComputeUpdate) => this.#apply(applied)),
      order: (order: ComputeOrder) => {
        world.check(this.#isWarm, true, `${this.id} makes nobody wait for its first gradient`);
        this.#newestOrder += 1;
        const id = this.#newestOrder;
        // Whoever cannot add up by itself hands its pieces over, asked for that or not.
        const { group, run, ...plain } = order;
        void this.#heard(() => {
          this.#order = id;
          this.#work(id, world.usesBoards ? { ...plain, group, run } : plain, 0);
        })();
      },
    };
  }

  /** The compute thread serves one request after the other; where it runs by itself, a little later. */
  #heard<Args extends unknown[], Result>(
    serve: (...args: Args) => Result,
  ): (...args: Args) => Promise<Result> {
    return (...args) => {
      if (!this.world.usesBoards) return new Promise((resolve) => resolve(serve(...args)));
      const { nowMs } = this.world;
      this.#mailMs = Math.max(this.#mailMs, nowMs + 0.1 * this.world.random());
      return new Promise((resolve, reject) =>
        this.later(this.#mailMs - nowMs, () => {
          try {
            resolve(serve(...args));
          } catch (error) {
            reject(error as Error);
          }
        }),
      );
    };
  }

  #apply({ step, steps, turn, learningRateFactor }: Omit<ComputeUpdate, "isAwaited">): void {
    const { world } = this;
    world.check(step, this.#parametersStep, `${this.id} applies each step once, in order`);
    update(this.#parameters, this.#vectors.reduced[turn], learningRateFactor);
    this.#parametersStep += steps;
    const inForce = this.batches.findLast(({ fromStep }) => fromStep <= step);
    world.usedDecision = Math.max(world.usedDecision, inForce?.decision ?? 0);
    this.hashes.set(step, hashOf(this.#parameters));
    world.checkBits(this, step);
  }

  #work(order: number, ordered: ComputeOrder, index: number): void {
    const { step, steps, pieces } = ordered;
    if (index === 0 && ordered.group !== undefined) this.#reduce = this.#openReduce(ordered.group);
    const piece = pieces[index];
    if (piece === undefined) return ordered.group && this.#finish(order, ordered);
    const pace = this.world.pace * this.slowness;
    const ms = piece.size * steps * (1 + this.world.random() * 4) * pace;
    this.later(ms, () => {
      if (order !== this.#order) return;
      this.world.check(step, this.#parametersStep, "a gradient is of the present parameters");
      const sum = (lo: number, size: number): Float32Array => {
        if (size === 1) return gradientOf(ordered, lo, this.#parameters);
        const out = new Float32Array(48);
        const [left, right] = halvesOf({ lo, size });
        const [a, b] = [sum(left.lo, left.size), sum(right.lo, right.size)];
        for (let i = 0; i < 48; i += 1) out[i] = a[i]! + b[i]!;
        return out;
      };
      beginWrite(this.#vectors, index);
      this.#vectors.pool[index]!.set(sum(piece.lo, piece.size));
      if (index === 0) this.#workMs = 0;
      this.#workMs += ms;
      if (ordered.group !== undefined) this.#reduce!.give(piece, index);
      else if (order === this.#newestOrder)
        this.group.onPiece(step, piece, index, { shards: piece.size, ms });
      this.#work(order, ordered, index + 1);
    });
  }

  #openReduce(group: BoardGroup): BoardReduce {
    const workers = [...this.world.workers.values()];
    const windows = group.windows.map((window) =>
      window === undefined ? undefined : workers[window]!.#vectors,
    );
    const { exchange: mode } = this.world;
    const own = { vectors: this.#vectors, vectorFloats: 48, kernels, board: this.#board };
    return new BoardReduce({ ...group, ...own, shards, mode, windows });
  }

  /** Looks now and then until the sum is whole; what it says then takes a while to be heard. */
  #finish(order: number, ordered: ComputeOrder): void {
    if (order !== this.#order) return;
    if (!this.#reduce!.advance())
      return void this.later(this.world.latency(), () => this.#finish(order, ordered));
    const work = {
      shards: ordered.pieces.reduce((sum, { size }) => sum + size, 0),
      ms: this.#workMs,
    };
    if (ordered.run !== undefined && this.#commit(ordered)) {
      const next = nextInRun(ordered);
      const isOver = next === undefined;
      if (isOver || this.world.random() < 0.3)
        this.later(0.1, () => {
          if (order === this.#newestOrder) this.group.onRan(isOver, work);
        });
      if (isOver) return;
      return this.#work(order, next, 0);
    }
    this.later(0.1, () => {
      if (order === this.#newestOrder) this.group.onWhole(ordered.step, work);
    });
  }

  /** As the compute thread does it: by itself, where the gate is open. */
  #commit({ step, steps, group, run }: ComputeOrder): boolean {
    const { turn } = group!;
    const { ticket, done, learningRateFactor } = run!;
    const metrics = metricsIn(this.#vectors.reduced[turn], layout);
    const note = { atMs: this.world.nowMs, exchangeMs: 0, metrics };
    if (!this.#gate.commit(ticket, done, note)) return false;
    this.#apply({ step, steps, turn, learningRateFactor });
    return true;
  }

  /** The state of a checkpoint. */
  #restore(from: number, floats: Float32Array): void {
    this.#isWarm = true;
    this.#parameters.set(floats, from);
    this.#parametersStep = this.world.facts.stepOf(hashOf(this.#parameters));
    this.hashes.clear();
  }

  // --- the log ---

  #bus(clock: Bus["clock"]): Bus {
    const append: Bus["append"] = (event, options) => this.world.facts.append(this, event, options);
    return { clock, append } as unknown as Bus;
  }

  /** The log has grown, or is back: read a little later. */
  hearFacts(): void {
    this.later(this.world.facts.latency(), () => this.#isBusAway || this.#readFacts());
  }

  #readFacts(): void {
    const { events } = this.world.facts;
    for (
      let event = events[this.#factsRead];
      event !== undefined;
      event = events[this.#factsRead]
    ) {
      this.#factsRead += 1;
      this.#observe(event);
    }
  }

  #observe(event: StoredEvent): void {
    this.#job = next(this.#job, event);
    if (event.name === "worker.lost") this.#knownDead.add(event.payload.workerId);
    this.#ledger.observe(event);
    this.#course.observe(event);
  }

  #buildLedger(bus: Bus): Ledger {
    return new Ledger({
      ...{ bus, jobId, steps: this.world.steps },
      pace: () => this.#course.pace(),
      onError: (error) => this.world.fail(`${this.id} cannot tell: ${error}`),
    });
  }

  #buildCourse(bus: Bus, me: ConstructorParameters<typeof Course>[0]["me"]): Course {
    const compute = { evaluate: this.#heard(() => ({ accuracy: 1 })), stalledMs: 0 };
    return new Course({
      ...{ bus, me, compiled, farewellMs, steps: this.world.steps, ledger: this.#ledger },
      compute: compute as unknown as Compute,
      saver: this.#saver(bus.clock),
      job: () => this.#job!,
      membership: () => this.group,
      onEnded: (reason) => this.end(reason),
      onFailed: (error) => {
        throw error;
      },
      log: (sentence, fields) =>
        this.world.note(`${this.id} ${sentence} ${JSON.stringify(fields)}`),
    });
  }

  #saver(clock: Bus["clock"]): Saver {
    const { facts } = this.world;
    const ports = { store: facts.store(clock), clock };
    const copy = this.#heard(() => ({
      floats: this.#parameters.slice(),
      step: this.#parametersStep,
    }));
    const save = async (options: SaveOptions) => {
      const { floats, step } = await copy();
      const [, saved] = /\/checkpoints\/0*(\d+)\//.exec(options.path)!;
      this.world.check(Number(saved), step, `${options.path} is of its step`);
      const weightsSha256 = hashOf(floats);
      facts.saved(weightsSha256, step);
      return simulatedSaver(ports, () => ({ floats, weightsSha256 })).save(options);
    };
    const others = { pausedMs: 0, start: () => undefined, hasRoom: () => true };
    return { ...others, save } as unknown as Saver;
  }
}
