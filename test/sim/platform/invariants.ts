/** What must hold after each event, judged from the server's own streams and the disk. */
import { auditJob } from "@coxswain/audit";
import { AppError, isEnded, type Job, next, passOver } from "@coxswain/domain";
import { decodeEvent, type PayloadOf, type StoredEvent } from "@coxswain/events";
import { type Manifest, manifestOf, sha256Of } from "@coxswain/store";
import type { StoredMessage, Stream } from "../bus/server.ts";
import { leaseTtlMs, nodeTimeoutMs } from "./limits.ts";
import { weightsAt } from "./training.ts";
import type { PlatformWorld } from "./world.ts";

type Committed = PayloadOf<"checkpoint.committed">;

export class Invariants {
  readonly #world: PlatformWorld;
  readonly jobs = new Map<string, Job>();
  readonly events: StoredEvent[] = [];
  readonly #committed = new Map<string, Map<number, Committed>>();
  readonly #epochs = new Map<string, number>();
  readonly #ids = new Set<string>();
  #next = 1;
  #nextAssignment = 1;

  constructor(world: PlatformWorld) {
    this.#world = world;
    const { server } = world.network;
    const log = server.stream("EVENTS");
    log.onChange(() => this.#lookAt(log));
    const lists = server.addStream({
      name: "KV_assignments",
      subjects: ["$KV.assignments.>"],
      maxMsgsPerSubject: 1,
    });
    lists.onChange(() => this.#lookAtLists(lists));
  }

  #lookAt(log: Stream): void {
    for (;;) {
      const message = log.next(this.#next, [">"]);
      if (message === undefined) return;
      this.#next = message.seq + 1;
      const decoded = decodeEvent({
        subject: message.subject,
        sequence: message.seq,
        timeMs: message.timeMs,
        header: (name) => message.headers.get(name),
        body: message.data,
      });
      if (decoded.kind === "event") this.#judge(decoded.event);
      else this.#world.fail(`the log has what is no event: ${decoded.reason}`);
    }
  }

  #judge(event: StoredEvent): void {
    this.events.push(event);
    this.#world.note(
      `event ${event.sequence} ${event.name} ${event.jobId} ${JSON.stringify(event.payload).slice(0, 160)}`,
    );
    if (this.#ids.has(event.id)) this.#world.fail(`${event.name} ${event.id} is told twice`);
    this.#ids.add(event.id);
    this.#fold(event);
    const { epoch } = event.payload as { readonly epoch?: number };
    if (event.source === "scheduler" && epoch !== undefined) this.#checkEpoch(event.jobId, epoch);
    if (event.name === "job.placed") this.#checkDeclared(event);
    if (event.name === "checkpoint.committed") this.#checkCommitted(event.jobId, event.payload);
    if (event.name === "checkpoint.pruned") this.#checkPruned(event.jobId, event.payload.steps);
    if (event.name === "job.succeeded")
      this.#world.check(
        event.payload.weightsSha256,
        weightsAt(event.payload.steps),
        `${event.jobId} ends with the oracle's bits`,
      );
    this.#checkWhole();
    if (event.name === "job.succeeded") this.audit(event.jobId);
  }

  /**
   * Requests and decisions are told by compare-and-set, so none can be illegal: but the end of
   * training is told by the workers, and nobody waits for that.
   */
  #fold(event: StoredEvent): void {
    try {
      this.jobs.set(event.jobId, next(this.jobs.get(event.jobId), event));
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const job = this.jobs.get(event.jobId);
      if (job?.state.kind === "finishing")
        return void this.jobs.set(event.jobId, passOver(job, event));
      this.#world.fail(
        `the log does not fold: ${event.name} at ${event.sequence}: ${error.message}`,
      );
    }
  }

  /** A scheduler that was replaced decides nothing of a job that its successor has decided on. */
  #checkEpoch(what: string, epoch: number): void {
    const before = this.#epochs.get(what) ?? 0;
    if (epoch < before) this.#world.fail(`${what}: epoch ${epoch} acts after epoch ${before}`);
    this.#epochs.set(what, Math.max(epoch, before));
  }

  /** Nobody is declared dead whose node gives signs of life, for longer than a decision may be old. */
  #checkDeclared({ jobId, payload }: StoredEvent & { name: "job.placed" }): void {
    for (const workerId of payload.declaredDead ?? []) {
      const node = this.#world.nodes.find(({ running }) => running.has(workerId));
      if (node !== undefined && node.beatingMs > nodeTimeoutMs + 3 * leaseTtlMs)
        this.#world.fail(`${jobId}: ${workerId} is declared dead, and ${node.nodeId} lives`);
    }
  }

  #lookAtLists(lists: Stream): void {
    for (;;) {
      const message = lists.next(this.#nextAssignment, [">"]);
      if (message === undefined) return;
      this.#nextAssignment = message.seq + 1;
      this.#checkEpoch(`list of ${message.subject}`, epochOf(message));
    }
  }

  #checkCommitted(jobId: string, committed: Committed): void {
    const all = this.#committed.get(jobId) ?? new Map<number, Committed>();
    this.#committed.set(jobId, all.set(committed.step, committed));
    this.#world.check(
      committed.weightsSha256,
      weightsAt(committed.step),
      `${jobId}: the checkpoint of step ${committed.step} has the oracle's bits`,
    );
  }

  #checkPruned(jobId: string, steps: readonly number[]): void {
    const all = this.#committed.get(jobId);
    const newest = Math.max(...(all?.keys() ?? []));
    if (steps.includes(newest)) this.#world.fail(`${jobId}: the newest checkpoint is pruned`);
    for (const step of steps) all?.delete(step);
  }

  /** A checkpoint that is named is whole, unless the disk itself damaged it. */
  #checkWhole(): void {
    for (const [jobId, all] of this.#committed)
      for (const committed of all.values()) {
        const why = this.#whyNotWhole(committed);
        if (why !== undefined)
          this.#world.fail(`${jobId}: checkpoint ${committed.step} is named: ${why}`);
      }
  }

  #whyNotWhole(committed: Committed): string | undefined {
    const { files, rotten } = this.#world.disk;
    const name = manifestOf(committed);
    const bytes = files.get(name);
    if (bytes === undefined) return "its manifest is not on the disk";
    if (rotten.has(name)) return undefined;
    if (sha256Of(bytes) !== committed.sha256) return "its manifest is another one";
    const { parts } = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
    for (const part of parts) {
      const found = files.get(part.path);
      if (found === undefined) return `${part.path} is not on the disk`;
      if (!rotten.has(part.path) && sha256Of(found) !== part.sha256) return `${part.path} differs`;
    }
    return undefined;
  }

  /** Steps meet without gap or overlap, each sample of each epoch once. */
  audit(jobId: string): void {
    const report = auditJob(this.events.filter((event) => event.jobId === jobId));
    const [first] = report.violations;
    if (first !== undefined) this.#world.fail(`${jobId}: ${first.kind}: ${first.message}`);
  }

  get areAllEnded(): boolean {
    return [...this.jobs.values()].every(isEnded);
  }
}

function epochOf(message: StoredMessage): number {
  if (message.headers.has("KV-Operation")) return 0;
  return (JSON.parse(new TextDecoder().decode(message.data)) as { readonly epoch: number }).epoch;
}
