/**
 * As much of Kubernetes 1.6 as the experiments need: owners with a number of pods, the default
 * scheduler that spreads, pending pods that are tried again with back-off, pods that take time to
 * start and to stop. No priorities and no preemption, as it was. Times in ms.
 */
import { EventQueue } from "@coxswain/sim";
import { seeded } from "../../lib/numbers.ts";
import { baseLoadCpu, type Shape } from "./experiment.ts";

export interface Pod {
  readonly owner: string;
  readonly shape: Shape;
  readonly stopsLate: boolean;
  readonly order: number;
  phase: "pending" | "starting" | "running" | "stopping" | "gone";
  node: Node | undefined;
  backOffMs: number;
}

interface Node extends Shape {
  cpuIdle: number;
  memoryIdleMib: number;
  readonly podsOf: Map<string, number>;
}

interface Owner {
  readonly shape: Shape;
  readonly stopsLate: boolean;
  pods: Pod[];
}

type Event =
  | { readonly kind: "try"; readonly pod: Pod }
  | { readonly kind: "bind" }
  | { readonly kind: "started" | "stopped"; readonly pod: Pod }
  | { readonly kind: "call"; readonly call: () => void };

/** Of the logs: a pod runs 2 to 5 s after it is bound; a change of 100 pods settles in 5 to 10 s. */
const startMs = [2000, 5000] as const;
const stopMs = [1000, 3000] as const;
/** A trainer's start script does not pass SIGTERM on: its pod ends with the grace period. Assumed. */
const graceMs = 30_000;
const bindEveryMs = 40;
const backOffMs = [1000, 60_000] as const;

export class Kubernetes {
  readonly #queue = new EventQueue<Event>();
  readonly #nodes: Node[];
  readonly #owners = new Map<string, Owner>();
  readonly #waiting: Pod[] = [];
  readonly #random: () => number;
  #isBinding = false;
  #nowMs = 0;
  #order = 0;
  /** Running pods that were told to go, by the first word of their owner's name. */
  readonly kills = new Map<string, number>();

  constructor(nodes: readonly Shape[], seed: number) {
    this.#random = seeded(seed);
    this.#nodes = nodes.map(({ cpu, memoryMib }) => ({
      cpu,
      memoryMib,
      cpuIdle: cpu - baseLoadCpu,
      memoryIdleMib: memoryMib,
      podsOf: new Map(),
    }));
  }

  get baseCpu(): number {
    return this.#nodes.length * baseLoadCpu;
  }

  get nodes(): readonly Readonly<Node>[] {
    return this.#nodes;
  }

  at(atMs: number, call: () => void): void {
    this.#queue.add(atMs, { kind: "call", call });
  }

  pods(owner: string): readonly Readonly<Pod>[] {
    return this.#owners.get(owner)?.pods ?? [];
  }

  /** All pods that are not gone. */
  *allPods(): Iterable<Readonly<Pod>> {
    for (const { pods } of this.#owners.values()) yield* pods;
  }

  running(owner: string): number {
    return this.pods(owner).filter(({ phase }) => phase === "running").length;
  }

  /** Sets how many pods an owner has; those that do not run go first, then the youngest. */
  scale(name: string, shape: Shape, count: number, stopsLate = false): void {
    const owner = this.#owners.get(name) ?? { shape, stopsLate, pods: [] };
    this.#owners.set(name, owner);
    const active = owner.pods.filter(({ phase }) => phase !== "stopping");
    for (let missing = count - active.length; missing > 0; missing -= 1) this.#create(name, owner);
    const rank = { pending: 0, starting: 1, running: 2, stopping: 3, gone: 4 };
    const goFirst = active.toSorted((a, b) => rank[a.phase] - rank[b.phase] || b.order - a.order);
    for (const pod of goFirst.slice(0, Math.max(0, active.length - count))) this.#stop(pod, owner);
  }

  runUntil(untilMs: number): void {
    for (let next = this.#queue.nextAtMs; next !== undefined && next <= untilMs; ) {
      this.#nowMs = next;
      this.#handle(this.#queue.take()!.event);
      next = this.#queue.nextAtMs;
    }
    this.#nowMs = untilMs;
  }

  #create(name: string, owner: Owner): void {
    this.#order += 1;
    const { shape, stopsLate } = owner;
    const phase = "pending" as const;
    const order = this.#order;
    const pod: Pod = {
      owner: name,
      shape,
      stopsLate,
      order,
      phase,
      node: undefined,
      backOffMs: backOffMs[0],
    };
    owner.pods.push(pod);
    this.#try(pod);
  }

  #stop(pod: Pod, owner: Owner): void {
    if (pod.phase === "running") {
      const role = pod.owner.split("-")[0]!;
      this.kills.set(role, (this.kills.get(role) ?? 0) + 1);
    }
    if (pod.node === undefined) {
      pod.phase = "gone";
      owner.pods = owner.pods.filter((other) => other !== pod);
      return;
    }
    pod.phase = "stopping";
    const takesMs = (pod.stopsLate ? graceMs : 0) + this.#between(stopMs);
    this.#queue.add(this.#nowMs + takesMs, { kind: "stopped", pod });
  }

  #handle(event: Event): void {
    switch (event.kind) {
      case "call":
        return event.call();
      case "try":
        return this.#try(event.pod);
      case "bind":
        return this.#bindNext();
      case "started":
        if (event.pod.phase === "starting") event.pod.phase = "running";
        return;
      case "stopped":
        return this.#release(event.pod);
    }
  }

  #release(pod: Pod): void {
    const node = pod.node!;
    node.cpuIdle += pod.shape.cpu;
    node.memoryIdleMib += pod.shape.memoryMib;
    node.podsOf.set(pod.owner, node.podsOf.get(pod.owner)! - 1);
    pod.phase = "gone";
    const owner = this.#owners.get(pod.owner)!;
    owner.pods = owner.pods.filter((other) => other !== pod);
  }

  #try(pod: Pod): void {
    if (pod.phase !== "pending") return;
    this.#waiting.push(pod);
    if (this.#isBinding) return;
    this.#isBinding = true;
    this.#queue.add(this.#nowMs + bindEveryMs, { kind: "bind" });
  }

  #bindNext(): void {
    const pod = this.#waiting.shift();
    if (pod?.phase === "pending") this.#bind(pod);
    this.#isBinding = this.#waiting.length > 0;
    if (this.#isBinding) this.#queue.add(this.#nowMs + bindEveryMs, { kind: "bind" });
  }

  #bind(pod: Pod): void {
    const node = this.#bestNode(pod);
    if (node === undefined) {
      this.#queue.add(this.#nowMs + pod.backOffMs, { kind: "try", pod });
      pod.backOffMs = Math.min(backOffMs[1], pod.backOffMs * 2);
      return;
    }
    node.cpuIdle -= pod.shape.cpu;
    node.memoryIdleMib -= pod.shape.memoryMib;
    node.podsOf.set(pod.owner, (node.podsOf.get(pod.owner) ?? 0) + 1);
    pod.node = node;
    pod.phase = "starting";
    this.#queue.add(this.#nowMs + this.#between(startMs), { kind: "started", pod });
  }

  /** Least requested, in the ten coarse steps of the default scheduler; ties by chance. */
  #bestNode({ shape }: Pod): Node | undefined {
    let best: { readonly node: Node; readonly score: number } | undefined;
    for (const node of this.#nodes) {
      if (node.cpuIdle < shape.cpu || node.memoryIdleMib < shape.memoryMib) continue;
      const idle = Math.floor((10 * (node.cpuIdle - shape.cpu)) / node.cpu);
      const score = idle + this.#random();
      if (best === undefined || score > best.score) best = { node, score };
    }
    return best?.node;
  }

  #between([least, most]: readonly [number, number]): number {
    return least + (most - least) * this.#random();
  }
}
