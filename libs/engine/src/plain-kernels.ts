/**
 * Operators that an engine's back end lacks, computed by TensorFlow.js's back end in plain JavaScript:
 * slower, and with the same bits again each time. Values go there and back.
 */
import { createRequire } from "node:module";
import { AppError } from "@coxswain/domain";
import { tf } from "@coxswain/program";
import { whereCalled } from "./user-place.ts";

export const plainName = "cpu";
const require = createRequire(import.meta.url);

type Values = Float32Array | Int32Array | Uint8Array;

export interface TensorFacts {
  readonly dataId: object;
  readonly shape: readonly number[];
  readonly dtype: string;
}

/** The part of any back end that values are brought through. */
export interface ValueBackend {
  readSync(dataId: object): Values;
  write(values: Values, shape: readonly number[], dtype: string): object;
}

interface PlainBackend extends ValueBackend {
  /** While true, the first value that is written prints an advertisement. */
  firstUse: boolean;
  makeTensorInfo(shape: readonly number[], dtype: string, values: Values): TensorFacts;
  disposeIntermediateTensorInfo(info: TensorFacts): void;
}

type Inputs = Readonly<Record<string, TensorFacts>> | readonly TensorFacts[];

interface Call {
  readonly inputs: Inputs;
  readonly attrs: unknown;
}

/** Types whose values are what lies in memory. */
const isPlain = ({ dtype }: TensorFacts) => dtype !== "complex64" && dtype !== "string";

/** Its first use prints nothing. */
export function openPlain(): PlainBackend {
  require("@tensorflow/tfjs-backend-cpu");
  const plain = tf.findBackend(plainName) as unknown as PlainBackend;
  plain.firstUse = false;
  return plain;
}

/** @throws AppError `program-threw` for an operator that nobody here computes */
export function runPlain(
  kernelName: string,
  backend: ValueBackend,
  { inputs, attrs }: Call,
): TensorFacts | TensorFacts[] {
  const plain = openPlain();
  const kernel = tf.getKernel(kernelName, plainName)?.kernelFunc as unknown as
    | ((call: { inputs: Inputs; attrs: unknown; backend: unknown }) => TensorFacts | TensorFacts[])
    | undefined;
  const given = Object.values(inputs) as readonly TensorFacts[];
  if (kernel === undefined || !given.every(isPlain)) throw refusal(kernelName);
  const brought = given.map(({ shape, dtype, dataId }) =>
    plain.makeTensorInfo(shape, dtype, backend.readSync(dataId)),
  );
  const take = (info: TensorFacts) => {
    if (!isPlain(info)) throw refusal(kernelName);
    const { dtype, shape, dataId } = info;
    return { dtype, shape, dataId: backend.write(plain.readSync(dataId).slice(), shape, dtype) };
  };
  const made = kernel({ inputs: namedAs(inputs, brought), attrs, backend: plain });
  const taken = Array.isArray(made) ? made.map(take) : take(made);
  for (const info of new Set([...brought, made].flat())) plain.disposeIntermediateTensorInfo(info);
  return taken;
}

function namedAs(inputs: Inputs, values: readonly TensorFacts[]): Inputs {
  if (Array.isArray(inputs)) return values;
  return Object.fromEntries(Object.keys(inputs).map((name, i) => [name, values[i]!]));
}

function refusal(kernelName: string): AppError {
  const sentence = `this engine has no operator ${kernelName}${whereCalled()()}`;
  return new AppError("program-threw", sentence);
}
