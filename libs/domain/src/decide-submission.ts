/**
 * Judges a submitted job: every violation at once, each with a JSON pointer and a sentence on the
 * fix, or the complete job with its defaults filled in. An entry of its own: workers judge no jobs,
 * and the validator takes a while to build.
 */
import { Compile, Value } from "@coxswain/schema";
import { engineNames, isaLevels } from "./engine.ts";
import {
  defaultShards,
  priorityClasses,
  type TrainingJob,
  TrainingJobSchema,
} from "./training-job.ts";

export interface Violation {
  /** JSON pointer into the submitted document. */
  readonly pointer: string;
  readonly detail: string;
}

export type Submission =
  | { readonly kind: "valid"; readonly job: TrainingJob }
  | { readonly kind: "invalid"; readonly violations: readonly Violation[] };

const validator = Compile(TrainingJobSchema);
const violationsMax = 100;
/** A valid job has six levels; deeper ones would only exhaust the stack. */
const depthMax = 16;

export function decideSubmission(document: unknown): Submission {
  if (!isRecord(document))
    return {
      kind: "invalid",
      violations: [
        {
          pointer: "",
          detail:
            "The document is no object; a TrainingJob has apiVersion, kind, metadata and spec.",
        },
      ],
    };
  if (isDeeperThan(document, depthMax)) {
    const detail = `The document is nested deeper than ${depthMax} levels; a TrainingJob has no use for that.`;
    return { kind: "invalid", violations: [{ pointer: "", detail }] };
  }
  const filled = fillDefaults(structuredClone(document));
  // What is unknown is told once, by the object that it is in.
  const violations = [...validator.Errors(filled)]
    .filter(({ keyword }) => keyword !== "boolean")
    .slice(0, violationsMax)
    .map(violationOf);
  const spec = isRecord(filled["spec"]) ? filled["spec"] : {};
  const all = [...violations, ...crossField(spec)];
  const unique = all.filter(
    (one, index) =>
      all.findIndex((other) => other.pointer === one.pointer && other.detail === one.detail) ===
      index,
  );
  if (unique.length > 0) return { kind: "invalid", violations: unique };
  return { kind: "valid", job: filled as unknown as TrainingJob };
}

/** Level by level, so that the depth of the document costs no stack. */
function isDeeperThan(document: unknown, levels: number): boolean {
  let level: unknown[] = [document];
  for (let depth = 0; depth <= levels; depth += 1) {
    level = level.flatMap((value) =>
      typeof value === "object" && value !== null ? Object.values(value) : [],
    );
    if (level.length === 0) return false;
  }
  return true;
}

const enginePointer = "/spec/engine";
const engineDetail = `Use ${engineNames.join(", ")}, {name: native, isa: ${isaLevels.join(" or ")}}, or {name: native, xla: true}.`;

type Fields = Record<string, unknown>;

function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fillDefaults(document: Fields): Fields {
  const spec = document["spec"];
  if (!isRecord(spec)) return document;
  const workers = spec["workers"];
  if (spec["resources"] === undefined) spec["resources"] = {};
  if (spec["checkpoint"] === undefined) spec["checkpoint"] = {};
  // A named priority becomes its number here, so that the log holds numbers.
  const given = String(spec["priorityClass"]);
  const named = Object.hasOwn(priorityClasses, given)
    ? priorityClasses[given as keyof typeof priorityClasses]
    : undefined;
  if (spec["priority"] === undefined && named !== undefined) spec["priority"] = named;
  if (spec["shards"] === undefined && isRecord(workers) && isCount(workers["max"]))
    spec["shards"] = defaultShards(Math.min(workers["max"], 256));
  return Value.Default(TrainingJobSchema, document) as Fields;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value > 0;
}

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params?: unknown;
}

function violationOf(error: SchemaError): Violation {
  // One of several forms: what is wrong with each of them would say less.
  if (error.instancePath.startsWith(enginePointer))
    return { pointer: enginePointer, detail: engineDetail };
  const params = (error.params ?? {}) as Fields;
  const missing = Array.isArray(params["requiredProperties"])
    ? (params["requiredProperties"] as string[])
    : [];
  const unknown = Array.isArray(params["additionalProperties"])
    ? (params["additionalProperties"] as string[])
    : [];
  if (missing.length > 0)
    return {
      pointer: error.instancePath,
      detail: `Add the missing ${missing.map((name) => `"${name}"`).join(", ")}.`,
    };
  if (unknown.length > 0)
    return {
      pointer: error.instancePath,
      detail: `Remove the unknown ${unknown.map((name) => JSON.stringify(name.slice(0, 64))).join(", ")}.`,
    };
  return {
    pointer: error.instancePath,
    detail: `The value ${error.message}; see the schema at /v1/schemas/training-job.`,
  };
}

/** Rules that hold between fields. */
function crossField(spec: Fields): Violation[] {
  const found: Violation[] = [];
  const say = (pointer: string, detail: string) => found.push({ pointer, detail });
  const { epochs, steps, shards, batchSize, from } = spec;
  if ((epochs === undefined) === (steps === undefined))
    say("/spec", 'Give exactly one of "epochs" and "steps".');
  const workers = isRecord(spec["workers"]) ? spec["workers"] : {};
  const { min, max } = workers;
  if (isCount(min) && isCount(max) && min > max)
    say("/spec/workers/min", `At least ${min} workers are more than at most ${max}.`);
  const begin = isRecord(from) ? from["step"] : undefined;
  if (isCount(begin) && isCount(steps) && begin >= steps)
    say("/spec/from/step", `Nothing is left to train: the job has ${steps} steps; give it more.`);
  found.push(...batchRules(spec));
  if (!isCount(shards)) return found;
  if (!Number.isInteger(Math.log2(shards)))
    say("/spec/shards", `Use a power of two, such as ${2 ** Math.round(Math.log2(shards))}.`);
  if (isCount(max) && max > shards)
    say("/spec/shards", `Each worker needs a shard: use at least ${defaultShards(max)}.`);
  if (isCount(batchSize) && batchSize % shards !== 0)
    say(
      "/spec/batchSize",
      `Use a multiple of ${shards} shards, such as ${Math.ceil(batchSize / shards) * shards}.`,
    );
  return found;
}

/** Larger batches are whole numbers of the job's own, in ascending order of steps. */
function batchRules({ batchSize, adaptiveBatch, batchSchedule }: Fields): Violation[] {
  if (!isCount(batchSize)) return [];
  const given = Array.isArray(batchSchedule) ? batchSchedule.filter(isRecord) : [];
  const sizes = [
    ...(isRecord(adaptiveBatch)
      ? [["/spec/adaptiveBatch/maxBatchSize", adaptiveBatch["maxBatchSize"]] as const]
      : []),
    ...given.map((one, at) => [`/spec/batchSchedule/${at}/batchSize`, one["batchSize"]] as const),
  ];
  const uneven = sizes.flatMap(([pointer, size]) =>
    isCount(size) && size % batchSize !== 0
      ? [{ pointer, detail: `Use a multiple of batchSize, ${batchSize}.` }]
      : [],
  );
  const late = given.findIndex(
    (one, at) => at > 0 && Number(one["fromStep"]) <= Number(given[at - 1]!["fromStep"]),
  );
  if (late < 0) return uneven;
  const detail = "Name the steps in ascending order, each once.";
  return [...uneven, { pointer: `/spec/batchSchedule/${late}/fromStep`, detail }];
}
