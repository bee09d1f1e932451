/** Reading jobs and asking for changes. */
import { AppError, type Job } from "@coxswain/domain";
import type { FastifyInstance } from "fastify";
import { detailOf, summaryOf } from "../decide/job-view.ts";
import type { Api, RequestFact } from "../service.ts";
import { anyObject, jobParams, problems } from "./schemas.ts";

const pageMax = 200;

interface ListQuery {
  readonly state?: string;
  readonly name?: string;
  readonly label?: string;
  readonly limit: number;
  readonly cursor?: string;
}

export function addJobRoutes(app: FastifyInstance, api: Api): void {
  app.get<{ Querystring: ListQuery }>(
    "/v1/jobs",
    {
      schema: {
        summary: "List jobs, newest first",
        querystring: {
          type: "object",
          properties: {
            state: { type: "string", maxLength: 64 },
            name: { type: "string", maxLength: 63 },
            label: { type: "string", maxLength: 128, description: "key=value" },
            limit: { type: "integer", minimum: 1, maximum: pageMax, default: 50 },
            cursor: { type: "string", maxLength: 64, description: "`next` of the page before" },
          },
        },
        response: { 200: anyObject, ...problems(400) },
      },
    },
    async (request) => list([...api.view.jobs.values()], request.query),
  );
  app.get<{ Params: { id: string } }>(
    "/v1/jobs/:id",
    {
      schema: {
        summary: "One job",
        params: jobParams,
        response: { 200: anyObject, ...problems(404) },
      },
    },
    async (request) => detailOf(api.job(request.params.id)),
  );

  const moves = {
    cancel: "job.cancel-requested",
    suspend: "job.suspend-requested",
    resume: "job.resume-requested",
  } as const;
  for (const [verb, name] of Object.entries(moves)) {
    app.post<{ Params: { id: string } }>(
      `/v1/jobs/:id/${verb}`,
      {
        schema: {
          summary: `Ask a job to ${verb}`,
          params: jobParams,
          response: { 202: anyObject, ...problems(404, 409, 503) },
        },
      },
      async (request, reply) =>
        reply
          .code(202)
          .send(
            detailOf(
              await api.request(request.params.id, () => ({ name, payload: {} }) as RequestFact),
            ),
          ),
    );
  }
  app.patch<{ Params: { id: string }; Body: Resize }>(
    "/v1/jobs/:id/workers",
    {
      schema: {
        summary: "Ask for other numbers of workers",
        params: jobParams,
        body: {
          type: "object",
          minProperties: 1,
          additionalProperties: false,
          properties: {
            workers: { type: "integer", minimum: 1 },
            min: { type: "integer", minimum: 1 },
            max: { type: "integer", minimum: 1 },
          },
        },
        response: { 202: anyObject, ...problems(400, 404, 409, 422, 503) },
      },
    },
    async (request, reply) =>
      reply
        .code(202)
        .send(detailOf(await api.request(request.params.id, (job) => resize(job, request.body)))),
  );
}

interface Resize {
  readonly workers?: number;
  readonly min?: number;
  readonly max?: number;
}

/** @throws AppError `invalid-spec` with every limit that is broken */
export function resize(job: Job, asked: Resize): RequestFact {
  const { spec } = job;
  // A wanted number beyond the limits moves the limits with it: that is what the user asks for.
  const min = asked.min ?? Math.min(spec.workers.min, asked.workers ?? Number.POSITIVE_INFINITY);
  const max = asked.max ?? Math.max(spec.workers.max, asked.workers ?? 0, min);
  const violations = [];
  if (max > spec.shards)
    violations.push({
      pointer: asked.max === undefined ? "/workers" : "/max",
      detail: `The job has ${spec.shards} shards, so at most as many workers.`,
    });
  if (min > max)
    violations.push({
      pointer: "/min",
      detail: `At least ${min} workers are more than at most ${max}.`,
    });
  if (asked.workers !== undefined && (asked.workers < min || asked.workers > max))
    violations.push({ pointer: "/workers", detail: `Use ${min} to ${max} workers.` });
  if (violations.length > 0)
    throw new AppError("invalid-spec", "the numbers of workers do not fit", {
      details: { violations },
    });
  return {
    name: "job.resize-requested",
    payload: {
      workersMin: min,
      workersMax: max,
      ...(asked.workers === undefined ? {} : { workersWanted: asked.workers }),
    },
  };
}

function list(jobs: readonly Job[], query: ListQuery) {
  const [labelKey, labelValue] = query.label?.split("=") ?? [];
  const before = query.cursor === undefined ? Number.POSITIVE_INFINITY : Number(query.cursor);
  if (Number.isNaN(before)) throw new AppError("invalid-request", "the cursor is not one of ours");
  const matching = jobs
    .filter(
      (job) =>
        (query.state === undefined || query.state.split(",").includes(job.state.kind)) &&
        (query.name === undefined || job.name === query.name) &&
        (labelKey === undefined || job.labels[labelKey] === labelValue) &&
        positionOf(job) < before,
    )
    .sort((a, b) => positionOf(b) - positionOf(a));
  const items = matching.slice(0, query.limit);
  const last = items.at(-1);
  const next =
    matching.length > items.length && last !== undefined ? { next: String(positionOf(last)) } : {};
  return { items: items.map(summaryOf), ...next };
}

/** Jobs never change their place in the list. */
function positionOf(job: Job): number {
  return job.submittedSequence;
}
