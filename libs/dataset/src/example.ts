/**
 * The data of a record: `tf.train.Example`, whose features are raw tensors, each one bytes value.
 *
 *   Example { 1: Features { 1: map entry { 1: name, 2: Feature { 1: BytesList { 1: bytes } } } } }
 *
 * https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/example.proto
 */
export type Example = Readonly<Record<string, Uint8Array>>;

const lengthDelimited = 2;
const nested = (1 << 3) | lengthDelimited;
const second = (2 << 3) | lengthDelimited;

function varint(value: number): number[] {
  const bytes = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

/** Parts of a message; put together once, since what they hold is large. */
type Parts = readonly Uint8Array[];

function field(tag: number, content: Parts): Parts {
  const bytes = content.reduce((sum, { length }) => sum + length, 0);
  return [Uint8Array.from([tag, ...varint(bytes)]), ...content];
}

/** The same features in the same order give the same bytes. */
export function encodeExample(example: Example): Uint8Array {
  const entries = Object.entries(example).flatMap(([name, bytes]) => {
    const feature = field(nested, field(nested, [bytes]));
    const text = new TextEncoder().encode(name);
    return field(nested, [...field(nested, [text]), ...field(second, feature)]);
  });
  return Buffer.concat(field(nested, entries));
}

/** Views of the features in `data`. Undefined for what is no Example of bytes. */
export function decodeExample(data: Uint8Array): Example | undefined {
  const example: Record<string, Uint8Array> = Object.create(null);
  const features = only(fieldsOf(data), 1);
  for (const { content: entry } of (features && fieldsOf(features)) ?? []) {
    const parts = fieldsOf(entry);
    const [name, feature] = [only(parts, 1), only(parts, 2)];
    const list = feature && only(fieldsOf(feature), 1);
    const bytes = list && only(fieldsOf(list), 1);
    if (name === undefined || bytes === undefined) return undefined;
    example[new TextDecoder().decode(name)] = bytes;
  }
  return features === undefined ? undefined : example;
}

interface Field {
  readonly number: number;
  readonly content: Uint8Array;
}

function only(fields: readonly Field[] | undefined, number: number): Uint8Array | undefined {
  return fields?.find((one) => one.number === number)?.content;
}

/** Length-delimited fields; undefined when there is anything else. */
function fieldsOf(message: Uint8Array): Field[] | undefined {
  const fields: Field[] = [];
  for (let at = 0; at < message.length; ) {
    const tag = message[at]!;
    let length = 0;
    let scale = 1;
    at += 1;
    for (; (message[at] ?? 0) >= 128; at += 1, scale *= 128) length += (message[at]! & 127) * scale;
    length += (message[at] ?? 0) * scale;
    at += 1;
    if ((tag & 7) !== lengthDelimited || at + length > message.length) return undefined;
    fields.push({ number: tag >>> 3, content: message.subarray(at, at + length) });
    at += length;
  }
  return fields;
}
