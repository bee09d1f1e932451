/**
 * A compiled program as data: made once for a job, kept with it by its hash, and run by every worker
 * that has the engine it was made for, without TensorFlow.js. Some kilobytes for the usual model.
 */
import { createHash } from "node:crypto";
import { AppError } from "@coxswain/domain";
import { rulesVersion } from "@coxswain/program";
import { type Static, Type, Value } from "@coxswain/schema";
import { functionHash, type GraphFunction } from "./graph-function.ts";
import type { CompileOptions, Layout } from "./port.ts";

const format = "coxswain-program-2";
const shape = Type.Array(Type.Integer({ minimum: 0 }));
const count = Type.Integer({ minimum: 0 });

const SegmentSchema = Type.Object({
  ...{ name: Type.String(), shape, offset: count, size: count },
  trained: Type.Optional(Type.Literal(false)),
});

const FunctionSchema = Type.Object({
  graph: Type.String({ description: "GraphDef, base64" }),
  inputs: Type.Array(Type.String()),
  outputs: Type.Array(Type.String()),
  randoms: Type.Array(Type.Object({ draw: count, shape })),
  hasShardAxis: Type.Optional(Type.Literal(true)),
});

const Schema = Type.Object({
  format: Type.Literal(format),
  hash: Type.String({ pattern: "^[0-9a-f]{64}$" }),
  engine: Type.String(),
  layout: Type.Object({
    segments: Type.Array(SegmentSchema),
    parameterFloats: count,
    metricNames: Type.Array(Type.String()),
    vectorFloats: count,
    slotCount: count,
  }),
  modelTopology: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  step: FunctionSchema,
  evaluation: FunctionSchema,
  probe: Type.String(),
});

export interface ProgramData {
  /** Of the compiled program, as in `CompiledProgram.hash`. */
  readonly hash: string;
  /** Identity of the engine that it was made for. */
  readonly engine: string;
  readonly layout: Layout;
  readonly modelTopology: Readonly<Record<string, unknown>> | undefined;
  readonly step: GraphFunction;
  readonly evaluation: GraphFunction;
  /** SHA-256 of a step's results where it was made: whoever computes other bits may not take part. */
  readonly probe: string;
}

const packed = ({ graph, ...rest }: GraphFunction) => ({
  ...rest,
  graph: Buffer.from(graph).toString("base64"),
});
const unpacked = ({ graph, ...rest }: Static<typeof FunctionSchema>): GraphFunction => ({
  ...rest,
  graph: Buffer.from(graph, "base64"),
});

export function encodeProgram(data: ProgramData): Uint8Array {
  const { modelTopology, step, evaluation, ...rest } = data;
  const text = JSON.stringify({
    format,
    ...rest,
    ...(modelTopology && { modelTopology }),
    step: packed(step),
    evaluation: packed(evaluation),
  });
  return new TextEncoder().encode(text);
}

/** @throws AppError `engine-mismatch` for what another version of the platform wrote */
export function decodeProgram(bytes: Uint8Array): ProgramData {
  const value = parse(bytes);
  if (!Value.Check(Schema, value))
    throw new AppError("engine-mismatch", `the compiled program is not in format ${format}`);
  const { step, evaluation, modelTopology, ...rest } = value;
  return { ...rest, modelTopology, step: unpacked(step), evaluation: unpacked(evaluation) };
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined; // Not JSON: no format of ours.
  }
}

export interface HashedFacts {
  readonly engine: string;
  readonly options: CompileOptions;
  readonly source: Uint8Array;
  readonly layout: Layout;
  /** The optimizer's identity. */
  readonly optimizer: string;
  /** Undefined for a program that runs operator by operator. */
  readonly functions:
    | { readonly step: GraphFunction; readonly evaluation: GraphFunction }
    | undefined;
}

/** Equal for those who may train together. */
export function programHash({ engine, options, source, ...compiled }: HashedFacts): string {
  const { layout, optimizer, functions } = compiled;
  // Named one by one: what else the caller's record holds, such as limits of workers, may change.
  const { data, batchSize, shards, seed, parameters } = options;
  const step = functions === undefined ? "eager" : functionHash(functions.step);
  const evaluation = functions === undefined ? "eager" : functionHash(functions.evaluation);
  const given = { engine, data, batchSize, shards, seed, parameters };
  const made = { layout: withoutNames(layout), optimizer, rulesVersion, step, evaluation };
  const facts = { ...given, ...made };
  return createHash("sha256").update(source).update(JSON.stringify(facts)).digest("hex");
}

/** TensorFlow.js numbers the layers of a process: the second model's are called otherwise. */
function withoutNames({ segments, ...layout }: Layout): object {
  return {
    ...layout,
    segments: segments.map(({ shape, offset, trained }) => ({ shape, offset, trained })),
  };
}
