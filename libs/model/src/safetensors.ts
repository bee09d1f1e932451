/**
 * Safetensors, the part that float32 models need: an unsigned 64-bit little-endian length, a JSON
 * header of that length, then the tensors' bytes.
 *
 * After https://github.com/huggingface/safetensors#format: offsets count from the end of the
 * header, tensors leave no holes, and the header may be padded with spaces so that data is aligned.
 */
import { AppError } from "@coxswain/domain";

/** A float32 tensor: `values` has product(shape) numbers. */
export interface NamedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** The reference implementation refuses longer headers. */
const headerBytesMax = 100_000_000;
const lengthBytes = 8;

/** The file in pieces, one for each tensor after the header; the tensors are not copied. */
export function encodeSafetensors(
  tensors: readonly NamedTensor[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array[] {
  let end = 0;
  const entries = tensors.map(({ name, shape, values }) => {
    const begin = end;
    end += values.byteLength;
    return [name, { dtype: "F32", shape, data_offsets: [begin, end] }] as const;
  });
  const text = JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) });
  const json = Buffer.from(text);
  const header = Buffer.concat([
    json,
    Buffer.alloc((lengthBytes - (json.length % lengthBytes)) % lengthBytes, " "),
  ]);
  const length = Buffer.alloc(lengthBytes);
  length.writeBigUInt64LE(BigInt(header.length));
  const bytesOf = ({ values }: NamedTensor) =>
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return [length, header, ...tensors.map(bytesOf)];
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** @throws AppError `model-damaged` for a file that is not whole, or holds other types than F32. */
export function decodeSafetensors(file: Uint8Array): {
  readonly tensors: NamedTensor[];
  readonly metadata: Readonly<Record<string, string>>;
} {
  const header = headerOf(file);
  const data = file.subarray(lengthBytes + header.length);
  const { __metadata__: metadata = {}, ...entries } = header.json;
  let end = 0;
  const tensors = Object.entries(entries)
    .sort(([, a], [, b]) => offsetOf(a) - offsetOf(b))
    .map(([name, entry]) => {
      const tensor = tensorOf(name, entry, data, end);
      end += tensor.values.byteLength;
      return tensor;
    });
  if (end !== data.length) throw damaged(`${data.length - end} bytes belong to no tensor`);
  return { tensors, metadata: metadata as Readonly<Record<string, string>> };
}

function headerOf(file: Uint8Array) {
  if (file.length < lengthBytes) throw damaged("it is too short for a header");
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = Number(view.getBigUint64(0, true));
  if (length > headerBytesMax || length > file.length - lengthBytes)
    throw damaged(`a header of ${length} bytes does not fit`);
  const text = new TextDecoder().decode(file.subarray(lengthBytes, lengthBytes + length));
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === "object" && json !== null && !Array.isArray(json))
      return { length, json: json as Record<string, unknown> };
  } catch (error) {
    throw damaged("its header is no JSON", error);
  }
  throw damaged("its header is no object");
}

function offsetOf(entry: unknown): number {
  return Number((entry as Partial<Entry> | null)?.data_offsets?.[0] ?? 0);
}

function tensorOf(name: string, entry: unknown, data: Uint8Array, begin: number): NamedTensor {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Partial<Entry>;
  if (dtype !== "F32") throw damaged(`${name} has type ${dtype}, only F32 is known`);
  const isShape = Array.isArray(shape) && shape.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!isShape || !Array.isArray(offsets)) throw damaged(`${name} has no shape or no place`);
  const size = shape.reduce((product: number, length: number) => product * length, 1);
  const [from, to] = offsets;
  if (from !== begin || to !== begin + size * 4 || to > data.length)
    throw damaged(`${name} of shape [${shape}] lies at ${from} to ${to}`);
  // A copy, since a Float32Array must start on a multiple of four.
  return { name, shape, values: new Float32Array(Uint8Array.from(data.subarray(from, to)).buffer) };
}

function damaged(why: string, cause?: unknown): AppError {
  return new AppError("model-damaged", `model.safetensors: ${why}`, { cause });
}
