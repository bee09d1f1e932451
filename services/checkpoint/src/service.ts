/** The loop of the checkpoint service: one durable consumer, whose handler may run twice. */
import { type Bus, followJobs, type JobsView, type Verdict } from "@coxswain/bus";
import { AppError, type Job, type JobId } from "@coxswain/domain";
import type { EventName, NewEvent, StoredEvent } from "@coxswain/events";
import { withSpan } from "@coxswain/service";
import { isDamage, type Store, storePaths } from "@coxswain/store";
import { commitParts } from "./commit-parts.ts";
import { decideCommit } from "./decide/decide-commit.ts";
import { decideExport } from "./decide/decide-export.ts";
import { decideOrphans, decideRetention } from "./decide/decide-retention.ts";
import { NamedSources } from "./decide/named-sources.ts";
import { ToldParts, type Written } from "./decide/told-parts.ts";
import { exportModel } from "./export-model.ts";

export interface Ports {
  readonly bus: Pick<Bus, "append" | "clock" | "consume" | "follow">;
  readonly store: Store;
  readonly signal: AbortSignal;
  readonly log: (sentence: string, fields: object) => void;
}

const heard = [
  "checkpoint.written",
  "checkpoint.committed",
  "training.finished",
] as const satisfies EventName[];

const projectionTimeoutMs = 10_000;
const projectionRetryMs = 200;
/** Of those that ended before these, checkpoints that another job named are not tidied any more. */
const endedJobsMax = 20_000;
/** A full disk is tried again for hours (the delay grows to 10 s): somebody may make room. */
const deliveriesMax = 1000;
/** How often the end of training waits for its last checkpoint before it is given up. */
const finalWaits = 10;
const finalWaitMs = 1000;

/** Runs until `signal` aborts. */
export async function runCheckpoints(ports: Ports): Promise<void> {
  const { bus, signal } = ports;
  const told = new ToldParts();
  const sources = new NamedSources();
  const onEvent = (event: StoredEvent) => {
    told.observe(event);
    sources.observe(event);
  };
  const view = followJobs(bus as Bus, { signal, onEvent, endedMax: endedJobsMax });
  const known = { view, told, sources };
  await Promise.race([view.caughtUp, view.done]);
  await resume(ports, known);
  const consumed = bus.consume(
    { durable: "checkpoint-parts", names: heard, signal, deliveriesMax },
    (event, deliveries) => handle(ports, known, event, deliveries),
  );
  await Promise.all([consumed, view.done]);
}

interface Known {
  readonly view: JobsView;
  readonly told: ToldParts;
  readonly sources: NamedSources;
}

/**
 * Goes on where a killed service stopped, at once: what it was at is only delivered again after a
 * while. A failure is left to that delivery.
 */
async function resume(ports: Ports, known: Known): Promise<void> {
  const { view, told } = known;
  const attempt = async (act: () => Promise<unknown>) => {
    try {
      if (!ports.signal.aborted) await act();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      ports.log("could not go on at the start", { err: error });
    }
  };
  for (const { jobId, sequence, part } of told.pending()) {
    const job = view.jobs.get(jobId);
    if (job !== undefined) await attempt(() => judge(ports, known, job, { part, sequence }));
  }
  for (const job of view.jobs.values()) await attempt(() => publishModel(ports, known, job));
}

/** Look, decide, do: what is done depends on the log up to the event, so doing it twice is harmless. */
async function handle(
  ports: Ports,
  known: Known,
  event: StoredEvent,
  deliveries: number,
): Promise<Verdict> {
  const { view } = known;
  if (!(await view.reached(event.sequence, projectionTimeoutMs)))
    return { kind: "nak", delayMs: projectionRetryMs, reason: "the projection is behind" };
  const job = view.jobs.get(event.jobId);
  if (job === undefined) return { kind: "term", reason: "there is no such job" };
  switch (event.name) {
    case "checkpoint.written":
      return await withSpan(
        {
          name: "checkpoint part",
          traceparent: view.traceparents.get(job.id),
          attributes: { jobId: job.id, step: event.payload.step, part: event.payload.part },
        },
        () =>
          judge(ports, known, job, { part: event.payload, sequence: event.sequence }, deliveries),
      );
    case "checkpoint.committed":
      await tidy(ports, known, job);
      await tidyReleased(ports, known);
      if (event.payload.final) await publishModel(ports, known, job);
      return { kind: "ack" };
    case "training.finished": {
      const isLast = deliveries >= finalWaits;
      const outcome = await publishModel(ports, known, job, isLast);
      if (outcome.kind !== "wait") return { kind: "ack" };
      return { kind: "nak", delayMs: finalWaitMs, reason: outcome.reason };
    }
    default:
      return { kind: "ack" }; // Not asked for.
  }
}

/** Commits or rejects a checkpoint whose parts are all told. */
async function judge(
  ports: Ports,
  known: Known,
  job: Job,
  { part, sequence }: { readonly part: Written; readonly sequence: number },
  deliveries = 1,
): Promise<Verdict> {
  const { step, generation } = part;
  const written = known.told.upTo(job.id, part, sequence);
  const decision = decideCommit({
    written,
    committed: job.checkpoints,
    isInPlace: (one) =>
      one.isReused === true
        ? storePaths.isPart(job.id, one.path)
        : one.path === storePaths.part(job.id, step, generation, one.part, one.parts),
  });
  const reject = async (reason: string): Promise<Verdict> => {
    ports.log("checkpoint rejected", { jobId: job.id, step, generation, reason });
    const payload = { step, generation, reason: reason.slice(0, 4000) };
    await say(
      ports,
      known,
      job.id,
      "checkpoint.rejected",
      `${step}.g${generation}.${sequence}`,
      payload,
    );
    return { kind: "ack" };
  };
  if (decision.kind === "wait" || decision.kind === "ignore") return { kind: "ack" };
  if (decision.kind === "reject") return await reject(decision.reason);
  try {
    const committed = await commitParts(ports.store, job.id, decision.facts, decision.parts);
    await say(ports, known, job.id, "checkpoint.committed", `${step}.g${generation}`, committed);
    ports.log("checkpoint committed", { jobId: job.id, step, generation, bytes: committed.bytes });
    return { kind: "ack" };
  } catch (error) {
    const isHopeless = error instanceof AppError && deliveries >= deliveriesMax;
    if (isDamage(error) || isHopeless) return await reject(error.message);
    throw error;
  }
}

/**
 * Removes what is no longer needed. The event goes first: a checkpoint that is named is whole. When
 * the service is killed in between, its files are orphans, and go next time.
 */
async function tidy(ports: Ports, known: Known, job: Job): Promise<void> {
  const { store } = ports;
  const { sources, told } = known;
  const { keep } = job.spec.checkpoint;
  const pruned = decideRetention(job.checkpoints, keep, sources.stepsOf(job.id));
  const kept = job.checkpoints.filter((checkpoint) => !pruned.includes(checkpoint));
  const steps = pruned.map(({ step }) => step).sort((a, b) => a - b);
  // Named by what goes: the same commit that is delivered again may find more to prune.
  const what = pruned.map(({ step, generation }) => `${step}g${generation}`).join("-");
  if (steps.length > 0) await say(ports, known, job.id, "checkpoint.pruned", what, { steps });
  // A job that was submitted before the event still found the checkpoint that it names.
  const named = sources.stepsOf(job.id);
  const files = await store.list(storePaths.checkpoints(job.id));
  const orphans = decideOrphans(
    files.map(({ path }) => path),
    { kept, pruned, named, held: told.pathsOf(job.id) },
  );
  for (const path of orphans) await store.remove(path);
  if (steps.length + orphans.length > 0)
    ports.log("checkpoints pruned", { jobId: job.id, steps, orphans });
}

/** Checkpoints that were kept because another job named them. */
async function tidyReleased(ports: Ports, known: Known): Promise<void> {
  for (const jobId of known.sources.takeReleased()) {
    const job = known.view.jobs.get(jobId);
    if (job !== undefined) await tidy(ports, known, job);
  }
}

/** @param isLast no final checkpoint will come any more: says so instead of waiting on */
async function publishModel(ports: Ports, known: Known, job: Job, isLast = false) {
  const decision = decideExport(job);
  if (decision.kind === "done" || (decision.kind === "wait" && !isLast)) return decision;
  const step = job.finished?.step ?? 1;
  try {
    if (decision.kind === "wait") throw new AppError("checkpoint-not-found", decision.reason);
    const payload = await exportModel(ports.store, job.id, decision.checkpoint);
    await say(ports, known, job.id, "model.exported", String(payload.step), payload);
    ports.log("model exported", { jobId: job.id, path: payload.path, format: payload.format });
  } catch (error) {
    if (!(error instanceof AppError) || error.retryable) throw error;
    ports.log("model export failed", { jobId: job.id, reason: error.message });
    await say(ports, known, job.id, "model.export-failed", String(step), {
      step,
      reason: error.message,
    });
  }
  return { kind: "done" } as const;
}

/**
 * Says a fact and waits until the view has it: else the next decision is made without it, and an
 * older checkpoint is committed after a newer one while its files are taken for orphans.
 */
async function say(
  { bus }: Ports,
  { view }: Known,
  jobId: string,
  name: EventName,
  what: string,
  payload: object,
): Promise<void> {
  const id = `${jobId}.${name}.${what}`;
  const event = { name, jobId: jobId as JobId, id, source: "checkpoint", payload } as NewEvent;
  const { sequence } = await bus.append(event);
  if (!(await view.reached(sequence, projectionTimeoutMs)))
    throw new AppError("bus-unavailable", `the projection is behind ${name} of "${jobId}"`);
}
