/** A job's checkpoints: listing, verifying, downloading. */
import { Socket } from "node:net";
import { Readable } from "node:stream";
import { AppError } from "@coxswain/domain";
import { inspectCheckpoint, manifestOf, readManifest, type Store } from "@coxswain/store";
import type { FastifyInstance } from "fastify";
import type { Api } from "../service.ts";
import { anyObject, jobParams, problems } from "./schemas.ts";

/** Reading whole checkpoints is the most that a request can ask for. */
const inspectionsMax = 2;
/** A connection may be silent for so long while a checkpoint is read. */
const inspectionTimeoutMs = 3_600_000;

const stepParams = {
  type: "object",
  required: ["id", "step"],
  properties: { ...jobParams.properties, step: { type: "integer", minimum: 0 } },
} as const;
const partParams = {
  type: "object",
  required: ["id", "step", "part"],
  properties: { ...stepParams.properties, part: { type: "integer", minimum: 0 } },
} as const;

interface StepParams {
  readonly id: string;
  readonly step: number;
}

export function addCheckpointRoutes(app: FastifyInstance, api: Api, store: Store): void {
  const find = ({ id, step }: StepParams) => {
    const { checkpoints } = api.job(id);
    const found = checkpoints.find((checkpoint) => checkpoint.step === step);
    if (found !== undefined) return found;
    const steps = checkpoints.map((checkpoint) => checkpoint.step).join(", ");
    throw new AppError(
      "checkpoint-not-found",
      `job "${id}" has no checkpoint of step ${step}; it has ${steps || "none"}`,
    );
  };
  app.get<{ Params: { id: string } }>(
    "/v1/jobs/:id/checkpoints",
    {
      schema: {
        summary: "Committed checkpoints, oldest first",
        params: jobParams,
        response: { 200: anyObject, ...problems(404) },
      },
    },
    async (request) => ({ items: api.job(request.params.id).checkpoints }),
  );
  let inspections = 0;
  app.post<{ Params: StepParams }>(
    "/v1/jobs/:id/checkpoints/:step/verify",
    {
      schema: {
        summary: "Read a checkpoint whole and compare every hash",
        description: "Answers once all is read; `damaged` names each part that is wrong or gone.",
        params: stepParams,
        response: { 200: anyObject, ...problems(404, 503) },
      },
    },
    async (request) => {
      const checkpoint = find(request.params);
      if (inspections >= inspectionsMax)
        throw new AppError("overloaded", `${inspectionsMax} checkpoints are being read`);
      inspections += 1;
      const { socket } = request.raw;
      if (socket instanceof Socket) socket.setTimeout(inspectionTimeoutMs);
      try {
        const damaged = await inspectCheckpoint(store, checkpoint);
        return { ...checkpoint, state: damaged.length === 0 ? "whole" : "damaged", damaged };
      } finally {
        inspections -= 1;
      }
    },
  );
  app.get<{ Params: StepParams }>(
    "/v1/jobs/:id/checkpoints/:step/manifest",
    {
      schema: {
        summary: "A checkpoint's manifest: shapes, facts, and its parts with their hashes",
        params: stepParams,
        response: problems(404, 503),
      },
    },
    async (request, reply) => {
      const bytes = await store.read(manifestOf(find(request.params)));
      return reply.type("application/json").send(Buffer.from(bytes));
    },
  );
  app.get<{ Params: StepParams & { part: number } }>(
    "/v1/jobs/:id/checkpoints/:step/parts/:part",
    {
      schema: {
        summary: "The bytes of one part of a checkpoint, in the manifest's order",
        params: partParams,
        produces: ["application/octet-stream"],
        response: problems(404, 500, 503),
      },
    },
    async (request, reply) => {
      const { parts } = await readManifest(store, find(request.params));
      const part = parts[request.params.part];
      if (part === undefined)
        throw new AppError(
          "checkpoint-not-found",
          `there is no part ${request.params.part} of ${parts.length}`,
        );
      return reply
        .type("application/octet-stream")
        .send(Readable.from(store.stream(part.path), { objectMode: false }));
    },
  );
}
