/** The HTTP server: limits, errors, routes. Building it starts nothing. */

import { AppError } from "@coxswain/domain";
import { record, withSpan } from "@coxswain/service";
import type { Store } from "@coxswain/store";
import swagger from "@fastify/swagger";
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from "fastify";
import { handleError } from "./problem.ts";
import { addCheckpointRoutes } from "./routes/checkpoints.ts";
import { addJobRoutes } from "./routes/jobs.ts";
import { addQueueRoutes } from "./routes/queues.ts";
import { addStreamRoutes } from "./routes/streams.ts";
import { addSubmitRoutes, parseYaml } from "./routes/submit.ts";
import { addWhyRoutes } from "./routes/why.ts";
import type { Api } from "./service.ts";

export interface AppPorts {
  readonly api: Api;
  readonly store: Store;
  readonly signal: AbortSignal;
  readonly streamsMax: number;
  readonly log?: FastifyBaseLogger;
}

const requestTimeoutMs = 30_000;
const connectionTimeoutMs = 10_000;
const bodyBytesMax = 256 * 1024;

export async function buildApp(ports: AppPorts): Promise<FastifyInstance> {
  const { api } = ports;
  const app = Fastify({
    ...(ports.log === undefined ? {} : { loggerInstance: ports.log }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    connectionTimeout: connectionTimeoutMs,
    forceCloseConnections: true,
    http: { maxHeaderSize: 16 * 1024 },
    routerOptions: { maxParamLength: 128 },
    ajv: { customOptions: { allErrors: true, coerceTypes: true } },
  });
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Coxswain",
        version: "1",
        description: "Submit, follow and steer training jobs.",
      },
    },
  });
  addParsers(app);
  app.setErrorHandler(handleError);
  app.setNotFoundHandler((request, reply) =>
    handleError(
      new AppError(
        "invalid-request",
        `there is nothing at ${request.method} ${request.url.slice(0, 200)}`,
      ),
      request,
      reply,
    ),
  );
  // Before the routes: it wraps those that come after it.
  addSpans(app);
  addSubmitRoutes(app, api);
  addJobRoutes(app, api);
  addCheckpointRoutes(app, api, ports.store);
  addStreamRoutes(app, api, ports);
  addQueueRoutes(app, api);
  addWhyRoutes(app, api, { signal: ports.signal, now: Date.now });
  addOwnRoutes(app, api);
  return app;
}

function addParsers(app: FastifyInstance): void {
  app.removeContentTypeParser("text/plain");
  app.addContentTypeParser(
    "application/octet-stream",
    { parseAs: "buffer" },
    (_request, body, done) => done(null, body),
  );
  app.addContentTypeParser(
    ["application/yaml", "application/x-yaml", "text/yaml"],
    { parseAs: "string" },
    (_request, body, done) => {
      try {
        done(null, parseYaml(String(body)));
      } catch (cause) {
        done(
          new AppError(
            "invalid-request",
            `the YAML cannot be read: ${cause instanceof Error ? cause.message : cause}`,
            { cause },
          ),
        );
      }
    },
  );
}

function addOwnRoutes(app: FastifyInstance, api: Api): void {
  app.get("/healthz", { schema: { summary: "The process lives" } }, async () => ({
    status: "alive",
  }));
  app.get(
    "/readyz",
    { schema: { summary: "The log has been read and the bus is there" } },
    async (_request, reply) => {
      const reason = !api.bus.isConnected
        ? "the bus is away"
        : !api.view.isCaughtUp
          ? "the log is being read"
          : undefined;
      return reply
        .code(reason === undefined ? 200 : 503)
        .send({ status: reason ?? "ready", sequence: api.view.sequence });
    },
  );
  app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger());
  app.get("/", { schema: { hide: true } }, async () => ({
    name: "coxswain",
    openapi: "/openapi.json",
    jobs: "/v1/jobs",
    events: "/v1/events",
    nodes: "/v1/nodes",
  }));
}

/** One span a request, so that what it appends carries its trace; and its duration as a metric. */
function addSpans(app: FastifyInstance): void {
  app.addHook("onResponse", async (request, reply) =>
    record({
      metric: "httpRequestDuration",
      value: reply.elapsedTime / 1000,
      attributes: {
        "http.request.method": request.method,
        "http.route": request.routeOptions.url ?? "unknown",
        "http.response.status_code": reply.statusCode,
      },
    }),
  );
  app.addHook("onRoute", (route) => {
    const { handler, method, url } = route;
    route.handler = function traced(request, reply) {
      const traceparent = request.headers["traceparent"];
      const attributes = { "http.request.method": String(method), "url.path": url };
      return withSpan(
        {
          name: `${method} ${url}`,
          attributes,
          ...(typeof traceparent === "string" ? { traceparent } : {}),
        },
        async () => handler.call(this, request, reply),
      );
    };
  });
}
