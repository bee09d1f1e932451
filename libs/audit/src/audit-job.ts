/**
 * The audit: proves from a job's log alone that each step was committed once and each sample of
 * each epoch was trained on once.
 *
 *   samples of epoch e = { permutation(seed, e)(p mod n) : e * n <= p < (e + 1) * n }
 *   positions of step s, shard k = s * B + k * B/V <= p < s * B + (k + 1) * B/V
 *
 * The permutation is a bijection, so what is left to prove is that the steps meet without gap or
 * overlap, and that in each generation the members' shards do. Where the log tells the number of
 * samples, and they are not too many, each one is looked up and ticked off as well.
 *
 * What it cannot see: a worker that lies. Its numbers are checked against each other: checkpoints of
 * one step must have one hash, whoever wrote them and however often; with `exchange: fast`, within a
 * generation.
 */
import { givenBatches } from "@coxswain/domain";
import type { StoredEvent } from "@coxswain/events";
import { Batches } from "./batches.ts";
import { countSamples, type SampleCount } from "./count-samples.ts";
import { coverageOf } from "./coverage.ts";
import { Hashes } from "./hashes.ts";
import { Lineage } from "./lineage.ts";
import type { AuditReport, Violation, ViolationKind } from "./report.ts";

export interface AuditOptions {
  /** Training samples of one epoch; default: what the log tells, where it does. */
  readonly samples?: number;
  /** Positions that are ticked off one by one at most (about a second for 5 million). */
  readonly positionsMax?: number;
}

const positionsMaxDefault = 50_000_000;

/** @param events of one job, in the log's order; other jobs' events are passed over */
export function auditJob(events: readonly StoredEvent[], options: AuditOptions = {}): AuditReport {
  const submitted = events.find((event) => event.name === "job.submitted");
  if (submitted === undefined) return noJob(events[0]?.jobId ?? "");
  const { spec } = submitted.payload.job;
  const own = events.filter(({ jobId }) => jobId === submitted.jobId);
  const violations: Violation[] = [];
  const batches = new Batches(spec.batchSize, givenBatches(spec.batchSchedule));
  const lineage = new Lineage(spec.shards, batches, spec.from?.step);
  const hashes = new Hashes(spec.exchange !== "fast");
  let samples = options.samples;
  for (const event of own) {
    const complain = (kind: ViolationKind, message: string) =>
      violations.push({ kind, sequence: event.sequence, message });
    if (event.name === "training.generation-formed")
      lineage.formed(event.payload, hashes.checkpoints, complain);
    if (event.name === "training.progressed") lineage.progressed(event.payload, complain);
    if (event.name === "checkpoint.written") samples ??= samplesOf(event.payload.manifest);
    hashes.observe(event, lineage, complain);
  }
  hashes.close((kind, message) => violations.push({ kind, message }));
  const found = { spec, violations, lineage, batches, hashes, samples, options };
  return report({ jobId: submitted.jobId, ...found });
}

function samplesOf(manifest: Readonly<Record<string, unknown>>): number | undefined {
  const samples = manifest["samplesTrain"];
  return Number.isSafeInteger(samples) && Number(samples) > 0 ? Number(samples) : undefined;
}

interface Found {
  readonly jobId: string;
  readonly spec: { readonly seed: number; readonly batchSize: number; readonly shards: number };
  readonly violations: Violation[];
  readonly lineage: Lineage;
  readonly batches: Batches;
  readonly hashes: Hashes;
  readonly samples: number | undefined;
  readonly options: AuditOptions;
}

function report(found: Found): AuditReport {
  const { jobId, spec, violations, lineage, hashes, samples } = found;
  const isFinished = hashes.finishedSha256 !== undefined;
  const end = isFinished ? Math.max(lineage.step, lineage.steps ?? 0) : lineage.step;
  const steps = coverageOf(lineage.stretches, end);
  if (isFinished && lineage.step < end)
    violations.push({
      kind: "finish-wrong",
      message: `the job finished after ${lineage.step} of ${end} steps`,
    });
  const { count, proof } = samplesCount(found, end);
  if (count.twice + count.skipped > 0)
    violations.push({
      kind: "samples-wrong",
      message: `${count.twice} samples were used twice, ${count.skipped} were left out`,
    });
  return {
    jobId,
    ok: violations.length === 0,
    isFinished,
    stepsCommitted: steps.covered,
    stepsTwice: steps.twice,
    stepsSkipped: steps.skipped,
    stepsRedone: lineage.stepsRedone,
    stepsInherited: lineage.stepsInherited,
    samplesTwice: count.twice,
    samplesSkipped: count.skipped,
    samplesProof: proof,
    samplesPerEpoch: samples,
    epochs: samples === undefined ? undefined : (steps.covered * spec.batchSize) / samples,
    weightsSha256: hashes.finishedSha256,
    generations: lineage.generations(),
    batches: found.batches.changes,
    violations,
  };
}

function samplesCount(
  { spec, lineage, samples, options }: Found,
  end: number,
): { readonly count: SampleCount; readonly proof: AuditReport["samplesProof"] } {
  const positions = lineage.stretches.reduce((sum, { from, to }) => sum + (to - from), 0);
  const positionsMax = options.positionsMax ?? positionsMaxDefault;
  if (samples !== undefined && positions * spec.batchSize <= positionsMax)
    return { count: countSamples({ ...spec, samples }, lineage.stretches, end), proof: "counted" };
  return { count: derivedCount(spec, lineage, end), proof: "derived" };
}

/** Samples follow from steps and shards. */
function derivedCount(spec: Found["spec"], lineage: Lineage, end: number): SampleCount {
  const size = spec.batchSize / spec.shards;
  const steps = coverageOf(lineage.stretches, end);
  let twice = steps.twice * spec.batchSize;
  let skipped = steps.skipped * spec.batchSize;
  for (const { from, to, members } of lineage.stretches) {
    const ranges = members.map(({ shardFrom, shardTo }) => ({ from: shardFrom, to: shardTo }));
    const shards = coverageOf(ranges, spec.shards);
    twice += shards.twice * size * (to - from);
    skipped += shards.skipped * size * (to - from);
  }
  return { twice, skipped };
}

function noJob(jobId: string): AuditReport {
  return {
    jobId,
    ok: false,
    isFinished: false,
    stepsCommitted: 0,
    stepsTwice: 0,
    stepsSkipped: 0,
    stepsRedone: 0,
    stepsInherited: 0,
    samplesTwice: 0,
    samplesSkipped: 0,
    samplesProof: "derived",
    samplesPerEpoch: undefined,
    epochs: undefined,
    weightsSha256: undefined,
    generations: [],
    batches: [],
    violations: [{ kind: "no-job", message: "the log has no job.submitted" }],
  };
}
