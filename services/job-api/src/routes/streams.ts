/** Event streams, logs, models, nodes. */
import { createGzip } from "node:zlib";
import { AppError, type JobId } from "@coxswain/domain";
import { type EventName, isEventName } from "@coxswain/events";
import type { Store } from "@coxswain/store";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { pack } from "tar-stream";
import { streamEvents } from "../io/event-stream.ts";
import type { Api } from "../service.ts";
import { anyObject, jobParams, problems } from "./schemas.ts";

export interface StreamPorts {
  readonly store: Store;
  readonly streamsMax: number;
  readonly signal: AbortSignal;
}

interface EventQuery {
  readonly after?: number;
  readonly follow: boolean;
  readonly names?: string;
}

const eventQuery = {
  type: "object",
  properties: {
    after: {
      type: "integer",
      minimum: 0,
      description: "Last sequence that the client has; Last-Event-ID goes first",
    },
    follow: { type: "boolean", default: true, description: "false ends at the log's present end" },
    names: { type: "string", maxLength: 2000, description: "Event names, separated by commas" },
  },
} as const;

export function addStreamRoutes(app: FastifyInstance, api: Api, ports: StreamPorts): void {
  addEventRoutes(app, api, ports);
  addLogRoute(app, api, ports);
  addModelRoutes(app, api, ports);
  app.get(
    "/v1/nodes",
    {
      schema: {
        summary: "Nodes as their agents describe them",
        response: { 200: anyObject, ...problems(503) },
      },
    },
    async () => {
      const nodes = await api.bus.bucket("nodes").entries();
      const workersOn = (nodeId: string) =>
        [...api.view.jobs.values()].flatMap((job) =>
          job.placement
            .filter((worker) => worker.nodeId === nodeId)
            .map(({ workerId }) => ({ jobId: job.id, workerId })),
        );
      return { items: nodes.map(({ value }) => ({ ...value, workers: workersOn(value.nodeId) })) };
    },
  );
}

/** Aborts when the client goes or the service stops. */
function signalOf(request: FastifyRequest, stop: AbortSignal): AbortSignal {
  const gone = new AbortController();
  request.raw.once("close", () => gone.abort());
  request.raw.socket.once("close", () => gone.abort());
  return AbortSignal.any([gone.signal, stop]);
}

function addEventRoutes(app: FastifyInstance, api: Api, { streamsMax, signal }: StreamPorts): void {
  let open = 0;
  const serve = async (
    request: FastifyRequest<{ Querystring: EventQuery }>,
    reply: FastifyReply,
    jobId?: JobId,
  ) => {
    if (open >= streamsMax)
      throw new AppError("overloaded", `${streamsMax} event streams are open`);
    const names = namesOf(request.query.names);
    const after = Number(request.headers["last-event-id"] ?? request.query.after ?? 0);
    if (!Number.isSafeInteger(after) || after < 0)
      throw new AppError("invalid-request", "Last-Event-ID is no sequence");
    reply.hijack();
    open += 1;
    const options = {
      after,
      follow: request.query.follow,
      response: reply.raw,
      signal: signalOf(request, signal),
      ...(jobId === undefined ? {} : { jobId }),
      ...(names === undefined ? {} : { names }),
    };
    try {
      await streamEvents(api, options);
    } finally {
      open -= 1;
    }
  };
  app.get<{ Querystring: EventQuery }>(
    "/v1/events",
    {
      schema: {
        summary: "All events (server-sent)",
        querystring: eventQuery,
        produces: ["text/event-stream"],
      },
    },
    (request, reply) => serve(request, reply),
  );
  app.get<{ Params: { id: string }; Querystring: EventQuery }>(
    "/v1/jobs/:id/events",
    {
      schema: {
        summary: "A job's events (server-sent)",
        params: jobParams,
        querystring: eventQuery,
        produces: ["text/event-stream"],
      },
    },
    (request, reply) => serve(request, reply, api.job(request.params.id).id as JobId),
  );
}

/** @throws AppError `invalid-request` for a name that is no event's */
function namesOf(text: string | undefined): EventName[] | undefined {
  const names = text?.split(",").filter((name) => name !== "");
  const unknown = names?.find((name) => !isEventName(name));
  if (unknown !== undefined)
    throw new AppError("invalid-request", `there is no event "${unknown.slice(0, 64)}"`);
  return names as EventName[] | undefined;
}

function addLogRoute(app: FastifyInstance, api: Api, { signal }: StreamPorts): void {
  app.get<{ Params: { id: string }; Querystring: { worker?: string; follow: boolean } }>(
    "/v1/jobs/:id/logs",
    {
      schema: {
        summary: "Workers' log lines, one JSON object a line",
        params: jobParams,
        querystring: {
          type: "object",
          properties: {
            worker: { type: "string", pattern: "^[a-z0-9-]{1,63}$" },
            follow: { type: "boolean", default: false },
          },
        },
        produces: ["application/x-ndjson"],
      },
    },
    async (request, reply) => {
      const { id } = api.job(request.params.id);
      const { worker, follow } = request.query;
      reply.hijack();
      const response = reply.raw;
      response.writeHead(200, {
        "content-type": "application/x-ndjson",
        "cache-control": "no-cache",
      });
      const options = {
        jobId: id,
        follow,
        signal: signalOf(request, signal),
        ...(worker === undefined ? {} : { workerId: worker }),
      };
      for await (const line of api.bus.followLogs(options)) {
        if (!response.write(`${JSON.stringify(line)}\n`))
          await new Promise((resolve) => response.once("drain", resolve));
      }
      response.end();
    },
  );
}

function addModelRoutes(app: FastifyInstance, api: Api, { store }: StreamPorts): void {
  const modelOf = (id: string) => {
    const { model } = api.job(id);
    if (model === undefined)
      throw new AppError("model-not-ready", `job "${id}" has not exported a model`);
    return model;
  };
  app.get<{ Params: { id: string } }>(
    "/v1/jobs/:id/model",
    {
      schema: {
        summary: "The trained model as a .tar.gz",
        params: jobParams,
        produces: ["application/gzip"],
        response: problems(404, 409, 503),
      },
    },
    async (request, reply) => {
      const model = modelOf(request.params.id);
      const archive = pack();
      void (async () => {
        for (const { name } of model.files)
          archive.entry({ name }, Buffer.from(await store.read(`${model.path}/${name}`)));
        archive.finalize();
      })().catch((error: unknown) => archive.destroy(error as Error));
      return reply
        .type("application/gzip")
        .header("content-disposition", `attachment; filename="${request.params.id}-model.tar.gz"`)
        .send(archive.pipe(createGzip()));
    },
  );
  app.get<{ Params: { id: string; file: string } }>(
    "/v1/jobs/:id/model/:file",
    {
      schema: {
        summary: "One file of the trained model",
        params: {
          ...jobParams,
          properties: { ...jobParams.properties, file: { type: "string", maxLength: 128 } },
        },
        response: problems(404, 409),
      },
    },
    async (request, reply) => {
      const model = modelOf(request.params.id);
      const file = model.files.find(({ name }) => name === request.params.file);
      if (file === undefined)
        throw new AppError(
          "checkpoint-not-found",
          `the model has no file "${request.params.file.slice(0, 64)}"`,
        );
      return reply
        .type(file.name.endsWith(".json") ? "application/json" : "application/octet-stream")
        .send(Buffer.from(await store.read(`${model.path}/${file.name}`)));
    },
  );
}
