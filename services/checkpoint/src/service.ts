/** The loop of the checkpoint service: one durable consumer, whose handler may run twice. */
import { type Bus, followJobs, type Verdict } from "@coxswain/bus";
import { AppError, type Job, type JobId } from "@coxswain/domain";
import type { NewEvent, StoredEvent } from "@coxswain/events";
import { isDamage, type Store, storePaths } from "@coxswain/store";
import { commitParts } from "./commit.ts";
import { decideCommit, type Written } from "./decide/decide-commit.ts";
import { decideRetention } from "./decide/decide-retention.ts";
import { exportModel } from "./export-model.ts";

export interface Ports {
  readonly bus: Bus;
  readonly store: Store;
  readonly signal: AbortSignal;
  readonly log: (sentence: string, fields: object) => void;
}

const heard = ["checkpoint.written", "checkpoint.committed", "training.finished"] as const;
const projectionTimeoutMs = 10_000;

export async function runCheckpoints(ports: Ports): Promise<void> {
  const { bus, signal } = ports;
  /** Parts told so far, by job, step and generation; rebuilt from the log. */
  const told = new Map<string, Written[]>();
  const view = followJobs(bus, {
    signal,
    onEvent: (event) => {
      if (event.name === "checkpoint.written") {
        const key = keyOf(event.jobId, event.payload);
        told.set(key, [...(told.get(key) ?? []), event.payload]);
      } else if (event.name === "checkpoint.committed") {
        for (const key of told.keys()) {
          const [jobId, step] = key.split(" ");
          if (jobId === event.jobId && Number(step) <= event.payload.step) told.delete(key);
        }
      }
    },
  });
  await view.caughtUp;
  await bus.consume(
    { durable: "checkpoint-parts", names: heard, signal },
    async (event): Promise<Verdict> => {
      if (!(await view.reached(event.sequence, projectionTimeoutMs)))
        return { kind: "nak", delayMs: 200, reason: "the projection is behind" };
      const job = view.jobs.get(event.jobId);
      if (job !== undefined) await handle(ports, event, job, told);
      return { kind: "ack" };
    },
  );
  await view.done;
}

function keyOf(
  jobId: string,
  { step, generation }: { readonly step: number; readonly generation: number },
): string {
  return `${jobId} ${step} ${generation}`;
}

async function handle(
  ports: Ports,
  event: StoredEvent,
  job: Job,
  told: ReadonlyMap<string, readonly Written[]>,
): Promise<void> {
  if (event.name === "checkpoint.written")
    await onWritten(ports, job, told.get(keyOf(job.id, event.payload)) ?? []);
  if (event.name === "checkpoint.committed") await prune(ports, job);
  if (event.name === "training.finished") await publishModel(ports, job);
}

async function onWritten(ports: Ports, job: Job, written: readonly Written[]): Promise<void> {
  const decision = decideCommit(written);
  if (decision.kind === "wait") return;
  const { step, generation } = written[0]!;
  const say = (name: "checkpoint.committed" | "checkpoint.rejected", payload: object) =>
    ports.bus.append({
      name,
      jobId: job.id as JobId,
      id: `${job.id}.${name}.${step}.g${generation}`,
      source: "checkpoint",
      payload,
    } as NewEvent);
  if (decision.kind === "reject") {
    await say("checkpoint.rejected", { step, generation, reason: decision.reason });
    return;
  }
  try {
    const committed = await commitParts(ports.store, job.id, decision.parts);
    await say("checkpoint.committed", committed);
    ports.log("checkpoint committed", { jobId: job.id, step, generation, bytes: committed.bytes });
  } catch (error) {
    if (!isDamage(error)) throw error;
    ports.log("checkpoint rejected", { jobId: job.id, step, generation, reason: error.message });
    await say("checkpoint.rejected", { step, generation, reason: error.message });
  }
}

async function prune({ bus, store }: Ports, job: Job): Promise<void> {
  const gone = decideRetention(job.checkpoints, job.spec.checkpoint.keep);
  if (gone.length === 0) return;
  for (const checkpoint of gone) await store.remove(checkpoint.path);
  const steps = gone.map(({ step }) => step).sort((a, b) => a - b);
  await bus.append({
    name: "checkpoint.pruned",
    jobId: job.id as JobId,
    id: `${job.id}.checkpoint.pruned.${steps.join("-").slice(0, 100)}`,
    source: "checkpoint",
    payload: { steps },
  });
}

async function publishModel({ bus, store, log }: Ports, job: Job): Promise<void> {
  const final = job.checkpoints.findLast((checkpoint) => checkpoint.final);
  const jobId = job.id as JobId;
  try {
    if (final === undefined)
      throw new AppError("checkpoint-not-found", "the final checkpoint was not committed");
    const payload = await exportModel(store, job.id, final);
    await bus.append({
      name: "model.exported",
      jobId,
      id: `${jobId}.model.exported.${final.step}`,
      source: "checkpoint",
      payload,
    });
    log("model exported", { jobId, path: storePaths.model(job.id), format: payload.format });
  } catch (error) {
    if (!(error instanceof AppError) || error.retryable) throw error;
    const payload = { step: job.finished?.step ?? 1, reason: error.message };
    await bus.append({
      name: "model.export-failed",
      jobId,
      id: `${jobId}.model.export-failed`,
      source: "checkpoint",
      payload,
    });
  }
}
