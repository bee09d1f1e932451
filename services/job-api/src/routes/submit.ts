/** Submitting: programs as bundles by content hash, jobs as JSON or YAML. */
import { createHash, randomBytes } from "node:crypto";
import {
  AppError,
  type JobId,
  jobLimits,
  type TrainingJob,
  TrainingJobSchema,
} from "@coxswain/domain";
import { decideSubmission, type Violation } from "@coxswain/domain/submission";
import type { FastifyInstance } from "fastify";
import { parse } from "yaml";
import { decideSource } from "../decide/decide-source.ts";
import { detailOf } from "../decide/job-view.ts";
import type { Api } from "../service.ts";
import { problems } from "./schemas.ts";

const sha256Pattern = "^[0-9a-f]{64}$";
const suffixChars = 6;

export function addSubmitRoutes(app: FastifyInstance, api: Api): void {
  app.put<{ Params: { sha256: string }; Body: Buffer }>(
    "/v1/programs/:sha256",
    {
      bodyLimit: jobLimits.bundleBytesMax,
      schema: {
        summary: "Upload a program's bundle",
        params: {
          type: "object",
          properties: { sha256: { type: "string", pattern: sha256Pattern } },
        },
        response: { 204: { type: "null" }, ...problems(400, 413, 415, 503) },
      },
    },
    async (request, reply) => {
      if (!Buffer.isBuffer(request.body))
        throw new AppError(
          "unsupported-media-type",
          "a bundle is sent as application/octet-stream",
        );
      const actual = createHash("sha256").update(request.body).digest("hex");
      if (actual !== request.params.sha256)
        throw new AppError("invalid-request", `the bundle's SHA-256 is ${actual}`);
      await api.bus.putBundle(actual, request.body);
      return reply.code(204).send();
    },
  );
  app.head<{ Params: { sha256: string } }>(
    "/v1/programs/:sha256",
    {
      schema: {
        summary: "Is a bundle there?",
        params: {
          type: "object",
          properties: { sha256: { type: "string", pattern: sha256Pattern } },
        },
      },
    },
    async (request, reply) =>
      reply.code((await api.bus.hasBundle(request.params.sha256)) ? 204 : 404).send(),
  );
  app.get(
    "/v1/schemas/training-job",
    { schema: { summary: "JSON Schema of a TrainingJob" } },
    async () => TrainingJobSchema,
  );
  app.post(
    "/v1/jobs",
    {
      bodyLimit: jobLimits.specBytesMax,
      schema: {
        summary: "Submit a job",
        description:
          "A TrainingJob as application/json or application/yaml. With Idempotency-Key the same request gives the same job.",
        consumes: ["application/json", "application/yaml"],
        headers: {
          type: "object",
          properties: { "idempotency-key": { type: "string", minLength: 1, maxLength: 255 } },
        },
        response: {
          201: { type: "object", additionalProperties: true },
          200: { type: "object", additionalProperties: true },
          ...problems(400, 413, 415, 422, 409, 503),
        },
      },
    },
    async (request, reply) => {
      const key = request.headers["idempotency-key"];
      const { id, isNew } = await submitJob(
        api,
        request.body,
        typeof key === "string" ? key : undefined,
      );
      return reply
        .code(isNew ? 201 : 200)
        .header("location", `/v1/jobs/${id}`)
        .send(detailOf(api.job(id)));
    },
  );
}

/**
 * Judges a document and says `job.submitted`. With the same key the same document is the same job.
 *
 * @throws AppError `invalid-spec`, `program-not-found`, `idempotency-mismatch`
 */
export async function submitJob(
  api: Api,
  document: unknown,
  key: string | undefined,
): Promise<{ readonly id: string; readonly isNew: boolean }> {
  const submission = decideSubmission(document);
  if (submission.kind === "invalid") throw invalid(submission.violations);
  const { job } = submission;
  const hash = job.spec.program.replace("sha256:", "");
  if (!(await api.bus.hasBundle(hash)))
    throw new AppError("program-not-found", `no bundle ${job.spec.program} was uploaded`);
  const requestHash = createHash("sha256").update(JSON.stringify(job)).digest("hex");
  const seed =
    key !== undefined
      ? createHash("sha256").update(`${key}|${job.metadata.name}`).digest("hex")
      : randomBytes(32).toString("hex");
  // The key decides the id, so that a request that is repeated, even after a crash, meets itself.
  const id =
    `${job.metadata.name}-${BigInt(`0x${seed}`).toString(36).slice(0, suffixChars)}` as JobId;
  if (key !== undefined) await checkKey(api, key, requestHash, id);
  const existing = api.view.jobs.get(id);
  if (existing !== undefined) return { id, isNew: false };
  try {
    const { duplicate } = await api.append(
      {
        name: "job.submitted",
        jobId: id,
        id: `${id}.submitted`,
        source: "job-api",
        payload: { job: withSource(api, job), requestHash },
      },
      0,
    );
    return { id, isNew: !duplicate };
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "conflict" || key === undefined) throw error;
    await api.view.reached(await api.bus.lastJobSequence(id), 2000);
    return { id, isNew: false };
  }
}

function invalid(violations: readonly Violation[]): AppError {
  const count = `${violations.length} ${violations.length === 1 ? "violation" : "violations"}`;
  return new AppError("invalid-spec", `the job has ${count}`, { details: { violations } });
}

/** Names the checkpoint that the job begins at by its hash. @throws AppError `invalid-spec` */
function withSource(api: Api, job: TrainingJob): TrainingJob {
  const { from } = job.spec;
  if (from === undefined) return job;
  const decision = decideSource(job.spec, from, api.view.jobs.get(from.job));
  if (decision.kind === "refuse") throw invalid(decision.violations);
  return { ...job, spec: { ...job.spec, from: decision.from } };
}

/** The same key with another request is a mistake of the client's. */
async function checkKey(api: Api, key: string, requestHash: string, jobId: string): Promise<void> {
  const bucket = api.bus.bucket("idempotency");
  const name = createHash("sha256").update(key).digest("hex");
  const known = await bucket.get(name);
  if (known === undefined) {
    const isOurs = await bucket.create(name, { requestHash, jobId }).then(
      () => true,
      (error: unknown) => {
        if (error instanceof AppError && error.code === "conflict") return false;
        throw error;
      },
    );
    if (!isOurs) await checkKey(api, key, requestHash, jobId);
    return;
  }
  if (known.value.requestHash !== requestHash)
    throw new AppError(
      "idempotency-mismatch",
      "this Idempotency-Key came with another request before",
    );
}

/** YAML as JSON Schema knows it: no anchors that grow without end, no other types. */
export function parseYaml(text: string): unknown {
  return parse(text, { maxAliasCount: 20, schema: "core", prettyErrors: true, logLevel: "silent" });
}
