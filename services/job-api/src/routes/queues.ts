/** Queues and online services: configuring them, and how they stand. */
import {
  AppError,
  type QueueSpec,
  QueueSpecSchema,
  type Resources,
  type ServiceSpec,
  ServiceSpecSchema,
} from "@coxswain/domain";
import type { FastifyInstance } from "fastify";
import type { Api } from "../service.ts";
import { anyObject, nameParams, problems } from "./schemas.ts";

interface Named {
  readonly name: string;
}

export function addQueueRoutes(app: FastifyInstance, api: Api): void {
  app.get(
    "/v1/queues",
    { schema: { summary: "Queues, their quotas and use", response: { 200: anyObject } } },
    async () => {
      const configured = await api.bus.bucket("queues").entries();
      const specs = new Map(configured.map(({ key, value }) => [key, value.spec]));
      const jobs = [...api.view.jobs.values()];
      const names = new Set(["default", ...specs.keys()]);
      return {
        items: [...names].sort().map((name) => {
          const own = jobs.filter(({ spec }) => spec.queue === name);
          const total = (pick: (resources: Resources) => number) =>
            own.reduce(
              (sum, { placement, spec }) => sum + placement.length * pick(spec.resources),
              0,
            );
          return {
            name,
            spec: specs.get(name) ?? null,
            waiting: own.filter(({ state }) => state.kind === "queued").length,
            holding: own.filter(({ placement }) => placement.length > 0).length,
            used: {
              cpu: total(({ cpu }) => cpu),
              memory: total(({ memory }) => memory),
              gpu: total(({ gpu }) => gpu),
              gpuMemory: total(({ gpu, gpuMemory = 0 }) => gpu * gpuMemory),
              diskIo: total(({ diskIo = 0 }) => diskIo),
              network: total(({ network = 0 }) => network),
            },
          };
        }),
      };
    },
  );
  app.put<{ Params: Named; Body: QueueSpec }>(
    "/v1/queues/:name",
    {
      schema: {
        summary: "Configure a queue: quota, cohort, weight, strategy",
        params: nameParams,
        body: QueueSpecSchema,
        response: { 200: anyObject, ...problems(400, 503) },
      },
    },
    async (request) => {
      const { name } = request.params;
      await api.bus.bucket("queues").put(name, { spec: request.body });
      return { name, spec: request.body };
    },
  );
  app.delete<{ Params: Named }>(
    "/v1/queues/:name",
    {
      schema: {
        summary: "Take a queue away; its jobs that run go on",
        params: nameParams,
        response: { 204: { type: "null" }, ...problems(503) },
      },
    },
    async (request, reply) => {
      await api.bus.bucket("queues").delete(request.params.name);
      return reply.code(204).send();
    },
  );
  addServiceRoutes(app, api);
}

function addServiceRoutes(app: FastifyInstance, api: Api): void {
  const show = async (name: string, spec: ServiceSpec) => {
    const room = await api.bus.bucket("reservations").get(name);
    const { reserved = {}, missing = spec.replicas, reason = "" } = room?.value ?? {};
    return { name, spec, reserved, missing, reason };
  };
  app.get(
    "/v1/services",
    { schema: { summary: "Online services and their room", response: { 200: anyObject } } },
    async () => {
      const entries = await api.bus.bucket("services").entries();
      return { items: await Promise.all(entries.map(({ key, value }) => show(key, value.spec))) };
    },
  );
  app.get<{ Params: Named }>(
    "/v1/services/:name",
    {
      schema: {
        summary: "One online service: where room is kept for it",
        params: nameParams,
        response: { 200: anyObject, ...problems(404) },
      },
    },
    async (request) => {
      const entry = await api.bus.bucket("services").get(request.params.name);
      if (entry === undefined)
        throw new AppError("invalid-request", `there is no service "${request.params.name}"`);
      return show(entry.key, entry.value.spec);
    },
  );
  app.put<{ Params: Named; Body: ServiceSpec }>(
    "/v1/services/:name",
    {
      schema: {
        summary: "Say what room an online service needs; jobs give way",
        params: nameParams,
        body: ServiceSpecSchema,
        response: { 200: anyObject, ...problems(400, 503) },
      },
    },
    async (request) => {
      const { name } = request.params;
      await api.bus.bucket("services").put(name, { spec: request.body });
      return show(name, request.body);
    },
  );
  app.delete<{ Params: Named }>(
    "/v1/services/:name",
    {
      schema: {
        summary: "An online service is gone; its room is free",
        params: nameParams,
        response: { 204: { type: "null" }, ...problems(503) },
      },
    },
    async (request, reply) => {
      await api.bus.bucket("services").delete(request.params.name);
      return reply.code(204).send();
    },
  );
}
