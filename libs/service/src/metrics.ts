/**
 * Every metric of the platform, in one table. Ours end in their unit, as the field's do, so that
 * they have one name in Prometheus, whether it reads a collector (which would append the unit) or a
 * service's own /metrics (which would not): dots as underscores, `_total` behind counters.
 */
import { type Attributes, type Counter, type Histogram, metrics } from "@opentelemetry/api";

interface Instrument {
  readonly kind: "counter" | "histogram";
  readonly name: string;
  /** UCUM: `s` seconds, `By` bytes, `{…}` what is counted. */
  readonly unit: string;
  readonly description: string;
  /** Upper bounds of a histogram's buckets, in the unit. */
  readonly buckets?: readonly number[];
}

const quick = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
const slow = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400];

export const instruments = {
  httpRequestDuration: {
    kind: "histogram",
    name: "http.server.request.duration",
    unit: "s",
    description: "Requests to the API, by method, route and status",
    buckets: quick,
  },
  queueWait: {
    kind: "histogram",
    name: "coxswain.queue.wait.seconds",
    unit: "s",
    description: "From asking for a place to having one, by queue",
    buckets: slow,
  },
  decisionDuration: {
    kind: "histogram",
    name: "coxswain.scheduler.decision.seconds",
    unit: "s",
    description: "One decision over all jobs and nodes",
    buckets: quick,
  },
  decisions: {
    kind: "counter",
    name: "coxswain.scheduler.decisions",
    unit: "{decision}",
    description: "Facts that the scheduler has said, by kind",
  },
  stepDuration: {
    kind: "histogram",
    name: "coxswain.training.step.seconds",
    unit: "s",
    description: "One step, as the mean over a progress report, by queue",
    buckets: quick,
  },
  exchangeDuration: {
    kind: "histogram",
    name: "coxswain.training.exchange.seconds",
    unit: "s",
    description:
      "Of one update, what the first member waited for the others' sums when its own part was done; the mean over a progress report, by queue",
    buckets: quick,
  },
  samples: {
    kind: "counter",
    name: "coxswain.training.samples",
    unit: "{sample}",
    description: "Samples of committed steps, by queue; its rate is the training speed",
  },
  workersLost: {
    kind: "counter",
    name: "coxswain.workers.lost",
    unit: "{worker}",
    description: "Workers that ended otherwise than asked, by error code",
  },
  recoveries: {
    kind: "counter",
    name: "coxswain.training.recoveries",
    unit: "{recovery}",
    description: "Generations formed after a loss, or restored from a checkpoint, by cause",
  },
  agreementDuration: {
    kind: "histogram",
    name: "coxswain.training.agreement.seconds",
    unit: "s",
    description:
      "From noticing a change of the members to agreeing on the next generation, by cause",
    buckets: quick,
  },
  checkpointBytes: {
    kind: "counter",
    name: "coxswain.checkpoint.bytes",
    unit: "By",
    description: "Bytes of committed checkpoints",
  },
  checkpointWriteDuration: {
    kind: "histogram",
    name: "coxswain.checkpoint.write.seconds",
    unit: "s",
    description: "One worker's part, from its copy to its being synced",
    buckets: quick,
  },
  checkpointsSpoilt: {
    kind: "counter",
    name: "coxswain.checkpoint.failures",
    unit: "{checkpoint}",
    description: "Parts that could not be written, and checkpoints that were rejected, by reason",
  },
  jobsEnded: {
    kind: "counter",
    name: "coxswain.jobs.ended",
    unit: "{job}",
    description: "Jobs that ended, by how and queue",
  },
  eventLag: {
    kind: "histogram",
    name: "coxswain.event.lag.seconds",
    unit: "s",
    description: "From saying a fact to the scheduler's hearing it",
    buckets: quick,
  },
} as const satisfies Record<string, Instrument>;

export type MetricName = keyof typeof instruments;

/** One value for one metric. */
export interface Measurement {
  readonly metric: MetricName;
  readonly value: number;
  readonly attributes?: Attributes;
}

/** A cache of the API's instruments; made at the first value, when telemetry has been started. */
const made = new Map<MetricName, (value: number, attributes?: Attributes) => void>();

/** Records a value; without a collector it costs next to nothing. */
export function record({ metric, value, attributes }: Measurement): void {
  let put = made.get(metric);
  if (put === undefined) {
    put = make(instruments[metric]);
    made.set(metric, put);
  }
  put(value, attributes);
}

function make(instrument: Instrument): (value: number, attributes?: Attributes) => void {
  const meter = metrics.getMeter("coxswain");
  const { name, unit, description, buckets } = instrument;
  if (instrument.kind === "counter") {
    const counter: Counter = meter.createCounter(name, { unit, description });
    return (value, attributes) => counter.add(value, attributes);
  }
  const advice =
    buckets === undefined ? {} : { advice: { explicitBucketBoundaries: [...buckets] } };
  const histogram: Histogram = meter.createHistogram(name, { unit, description, ...advice });
  return (value, attributes) => histogram.record(value, attributes);
}
