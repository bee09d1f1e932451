/** Why, when, what if; and the scheduler's own records. */
import { QueueSpecSchema, ServiceSpecSchema } from "@coxswain/domain";
import { explain, type Snapshot } from "@coxswain/scheduling";
import { coverage, forecastOf, type Interval } from "@coxswain/sim";
import type { FastifyInstance } from "fastify";
import { ForecastBook } from "../decide/forecast-book.ts";
import { answer, nodesTriedMax, type Question } from "../decide/what-if.ts";
import type { Api } from "../service.ts";
import { anyObject, jobParams, problems } from "./schemas.ts";

export interface WhyPorts {
  readonly signal: AbortSignal;
  readonly now: () => number;
}

const iso = (ms: number) => new Date(ms).toISOString();
const shown = (interval: Interval | null) =>
  interval && {
    expected: iso(interval.expectedMs),
    earliest: iso(interval.earliestMs),
    latest: iso(interval.latestMs),
  };
/** A record stream is bounded by the bus; an answer by this. */
const recordsMax = 200_000;

export function addWhyRoutes(app: FastifyInstance, api: Api, ports: WhyPorts): void {
  const book = new ForecastBook();
  const present = (): Snapshot => ({
    nowMs: ports.now(),
    jobs: [...api.view.jobs.values()],
    ...api.lookView.look,
  });
  app.get<{ Params: { id: string } }>(
    "/v1/jobs/:id/explain",
    {
      schema: {
        summary: "Why a job waits, what would start it, and when it will start and end",
        description:
          "Each change was applied to what the scheduler sees and decided by its own code; the intervals of the forecast hold the truth in `coverage` of the cases, calibrated by forecasts whose time has come.",
        params: jobParams,
        response: { 200: anyObject, ...problems(404) },
      },
    },
    async (request) => {
      const job = api.job(request.params.id);
      const snapshot = present();
      const raw = forecastOf(snapshot, job.id);
      const { starts, ends } = book.answer(job, raw, api.view.jobs, snapshot.nowMs);
      return { ...explain(snapshot, job), starts: shown(starts), ends: shown(ends), coverage };
    },
  );
  app.post<{ Body: Omit<Question, "byMs"> & { readonly by?: string } }>(
    "/v1/what-if",
    {
      schema: {
        summary: "What would be decided with other jobs, nodes, quotas or services",
        body: questionSchema,
        response: { 200: anyObject, ...problems(400) },
      },
    },
    async (request) => {
      const { by, ...question } = request.body;
      const byMs = by === undefined ? {} : { byMs: Date.parse(by) };
      return answer(present(), { ...question, ...byMs });
    },
  );
  app.get(
    "/v1/decisions",
    {
      schema: {
        summary: "What the scheduler saw and decided, as far back as it is kept",
        response: { 200: anyObject },
      },
    },
    async () => {
      const items: unknown[] = [];
      for await (const { record } of api.bus.followRecords({
        follow: false,
        signal: ports.signal,
      })) {
        items.push(record);
        if (items.length >= recordsMax) break;
      }
      return { items };
    },
  );
}

const integer = (minimum: number, maximum: number) => ({ type: "integer", minimum, maximum });
const specs = (schema: object) => ({
  type: "object",
  maxProperties: 100,
  additionalProperties: schema,
});
/** MiB/s */
const amount = { type: "number", minimum: 0, maximum: 1e6 };

const questionSchema = {
  type: "object",
  additionalProperties: false,
  properties: {
    jobs: {
      type: "array",
      maxItems: 100,
      items: {
        type: "object",
        required: ["workers"],
        properties: {
          name: { type: "string", maxLength: 63 },
          workers: {
            type: "object",
            required: ["min", "max"],
            properties: { min: integer(1, 64), max: integer(1, 64) },
          },
          resources: {
            type: "object",
            required: ["cpu", "memory", "gpu"],
            properties: {
              cpu: { type: "number", exclusiveMinimum: 0 },
              memory: integer(1, 16_777_216),
              gpu: integer(0, 64),
              gpuMemory: integer(0, 1_048_576),
              diskIo: amount,
              network: amount,
            },
          },
          priority: integer(-1000, 1000),
          queue: { type: "string", maxLength: 63 },
          steps: integer(1, 100_000_000),
        },
      },
    },
    nodes: {
      type: "object",
      required: ["count", "cpu"],
      additionalProperties: false,
      properties: {
        count: integer(0, nodesTriedMax),
        cpu: { type: "number", exclusiveMinimum: 0 },
        memory: integer(64, 16_777_216),
        gpu: integer(0, 64),
        gpuMemory: integer(0, 1_048_576),
        diskIo: amount,
        network: amount,
        labels: { type: "object", additionalProperties: { type: "string" } },
      },
    },
    removeNodes: { type: "array", maxItems: 1000, items: { type: "string" } },
    queues: specs(QueueSpecSchema),
    services: specs(ServiceSpecSchema),
    by: { type: "string", format: "date-time" },
  },
};
