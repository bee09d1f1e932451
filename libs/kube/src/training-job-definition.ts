/**
 * The CustomResourceDefinition of TrainingJob, made of the one schema that job-api validates with:
 * what Kubernetes' structural schemas can say, they say, the rest are CEL rules.
 */
import { jobLimits, TrainingJobSpecSchema } from "@coxswain/domain";
import { trainingJobGroup } from "./resources.ts";

type Json = Record<string, unknown>;

/** Fields that submission fills in when they are absent. */
const filledIn = ["shards", "resources", "checkpoint"];
const conditionTextMax = 32_768;

/** A JSON Schema in the part of OpenAPI 3.0 that structural schemas allow. */
export function structuralOf(schema: Json): Json {
  const anyOf = schema["anyOf"] as readonly Json[] | undefined;
  if (anyOf?.every((one) => "const" in one)) {
    const { anyOf: _, ...rest } = schema;
    return structuralOf({ ...rest, type: "string", enum: anyOf.map((one) => one["const"]) });
  }
  if (anyOf !== undefined) return severalTypes(schema);
  if (schema["patternProperties"] !== undefined) return mapOf(schema);
  if (schema["properties"] !== undefined) return objectOf(schema);
  if (schema["items"] !== undefined)
    return { ...plainOf(schema), items: structuralOf(schema["items"] as Json) };
  return plainOf(schema);
}

/** A value of several types has none: all that it may be are listed, or job-api judges it. */
function severalTypes(schema: Json): Json {
  const values = valuesOf(schema);
  return {
    ...described(schema),
    "x-kubernetes-preserve-unknown-fields": true,
    ...(values && { enum: values }),
  };
}

/** Everything that is valid, where that can be listed. */
function valuesOf(schema: Json): unknown[] | undefined {
  if ("const" in schema) return [schema["const"]];
  if (schema["type"] === "boolean") return [false, true];
  if (schema["enum"] !== undefined) return schema["enum"] as unknown[];
  if (schema["anyOf"] !== undefined) {
    const each = (schema["anyOf"] as readonly Json[]).map(valuesOf);
    return each.every((values) => values !== undefined) ? each.flat() : undefined;
  }
  if (schema["properties"] === undefined || schema["additionalProperties"] !== false)
    return undefined;
  const required = (schema["required"] ?? []) as readonly string[];
  let objects: Json[] | undefined = [{}];
  for (const [name, field] of Object.entries(schema["properties"] as Record<string, Json>)) {
    const values = valuesOf(field);
    objects =
      values &&
      objects?.flatMap((object) => [
        ...(required.includes(name) ? [] : [object]),
        ...values.map((value) => ({ ...object, [name]: value })),
      ]);
  }
  return objects;
}

function plainOf(schema: Json): Json {
  const { exclusiveMinimum, enum: values, ...rest } = schema;
  return {
    ...rest,
    ...(values === undefined ? {} : { type: "string", enum: values }),
    ...(exclusiveMinimum === undefined
      ? {}
      : { minimum: exclusiveMinimum, exclusiveMinimum: true }),
  };
}

function mapOf({ patternProperties, ...rest }: Json): Json {
  const [values] = Object.values(patternProperties as Record<string, Json>);
  const additionalProperties = structuralOf(values ?? {});
  return { ...described(rest), type: "object", maxProperties: 256, additionalProperties };
}

function objectOf(schema: Json): Json {
  const properties = schema["properties"] as Record<string, Json>;
  const hasDefault = (name: string) =>
    "default" in properties[name]! || filledIn.includes(name) || "properties" in properties[name]!;
  const required = ((schema["required"] ?? []) as string[]).filter(
    (name) => !hasDefault(name) || name === "workers",
  );
  return {
    ...described(schema),
    type: "object",
    ...(required.length === 0 ? {} : { required }),
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, field]) => [
        name,
        {
          ...structuralOf(field),
          ...(filledIn.includes(name) && name !== "shards" ? { default: {} } : {}),
        },
      ]),
    ),
  };
}

function described(schema: Json): Json {
  const { description, default: preset } = schema;
  return {
    ...(description === undefined ? {} : { description }),
    ...(preset === undefined ? {} : { default: preset }),
  };
}

const rule = (text: string, message: string, more: Json = {}) => ({ rule: text, message, ...more });
const powersOfTwo = Array.from({ length: 9 }, (_, exponent) => 2 ** exponent).join(", ");
/** What a running job cannot change: the arithmetic that it is exact for. */
const fixed = ["program", "data", "batchSize", "seed", "exchange"];

const specRules = [
  rule("has(self.epochs) != has(self.steps)", "give exactly one of epochs and steps"),
  rule("self.workers.min <= self.workers.max", "workers.min is more than workers.max"),
  rule(
    `!has(self.shards) || self.shards in [${powersOfTwo}]`,
    "shards is a power of two, at most 256",
  ),
  rule("!has(self.shards) || self.workers.max <= self.shards", "each worker needs a shard"),
  rule(
    "!has(self.shards) || self.batchSize % self.shards == 0",
    "batchSize is a multiple of shards",
  ),
  ...fixed.map((name) =>
    rule(`self.${name} == oldSelf.${name}`, `${name} is fixed for the life of a job`),
  ),
  rule("self.workers == oldSelf.workers", "scale with spec.replicas: `kubectl scale`"),
  rule(
    "has(self.shards) == has(oldSelf.shards) && (!has(self.shards) || self.shards == oldSelf.shards)",
    "shards is fixed for the life of a job",
  ),
];

function specSchema(): Json {
  const spec = objectOf(TrainingJobSpecSchema as unknown as Json);
  return {
    ...spec,
    description: "What is trained, how long, and with how many workers.",
    properties: {
      ...(spec["properties"] as Json),
      suspend: {
        type: "boolean",
        default: false,
        description:
          "While true the job gives up its workers after a checkpoint, or does not start.",
      },
      replicas: {
        type: "integer",
        minimum: 1,
        maximum: jobLimits.workersMax,
        description: "Workers wanted now, what `kubectl scale` sets; absent: as many as pay off.",
      },
    },
    "x-kubernetes-validations": specRules,
  };
}

const text = (description: string) => ({ type: "string", description });
const count = (description: string) => ({ type: "integer", minimum: 0, description });

const statusSchema: Json = {
  type: "object",
  properties: {
    jobId: text("The job's id in the log and the HTTP API."),
    phase: text("The job's state: Queued, Placed, Running, Suspended, Succeeded, Failed, …"),
    message: text("Why it waits or failed."),
    workers: text("Workers that train, of those wanted."),
    progress: text("Steps committed, of all."),
    step: count("Steps committed."),
    steps: count("Steps in all."),
    etaSeconds: count("Seconds to the last step at the present pace."),
    eta: text("The same, for people."),
    replicas: count("Workers that train."),
    selector: text("Selects the job's Pods."),
    weightsSha256: text("Hash of the trained weights."),
    observedGeneration: { type: "integer", format: "int64" },
    conditions: {
      type: "array",
      maxItems: 16,
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["type"],
      items: {
        type: "object",
        required: ["type", "status", "reason", "message", "lastTransitionTime"],
        properties: {
          type: { type: "string", maxLength: 316 },
          status: { type: "string", enum: ["True", "False", "Unknown"] },
          reason: { type: "string", minLength: 1, maxLength: 1024 },
          message: { type: "string", maxLength: conditionTextMax },
          observedGeneration: { type: "integer", format: "int64", minimum: 0 },
          lastTransitionTime: { type: "string", format: "date-time" },
        },
      },
    },
  },
};

const column = (name: string, type: string, jsonPath: string, more: Json = {}) => ({
  ...{ name, type, jsonPath },
  ...more,
});

export function trainingJobDefinition(): Json {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `trainingjobs.${trainingJobGroup}` },
    spec: {
      group: trainingJobGroup,
      scope: "Namespaced",
      names: {
        plural: "trainingjobs",
        singular: "trainingjob",
        kind: "TrainingJob",
        listKind: "TrainingJobList",
        shortNames: ["tj"],
        categories: ["all"],
      },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          subresources: {
            status: {},
            scale: {
              specReplicasPath: ".spec.replicas",
              statusReplicasPath: ".status.replicas",
              labelSelectorPath: ".status.selector",
            },
          },
          additionalPrinterColumns: [
            column("Phase", "string", ".status.phase"),
            column("Workers", "string", ".status.workers"),
            column("Step", "string", ".status.progress"),
            column("ETA", "string", ".status.eta"),
            column("Age", "date", ".metadata.creationTimestamp"),
            column("Message", "string", ".status.message", { priority: 1 }),
          ],
          schema: {
            openAPIV3Schema: {
              type: "object",
              description: "A job that trains a model on workers that come and go.",
              required: ["spec"],
              properties: {
                apiVersion: { type: "string" },
                kind: { type: "string" },
                // The job's id is the name and a suffix.
                metadata: {
                  type: "object",
                  properties: { name: { type: "string", maxLength: 55 } },
                },
                spec: specSchema(),
                status: statusSchema,
              },
            },
          },
        },
      ],
    },
  };
}
