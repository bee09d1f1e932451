/**
 * Just enough protocol buffers to write a tensorflow.GraphDef and to read of an OpDef whether it keeps
 * state, and which attributes are types of its inputs. The
 * field numbers are those of TensorFlow's graph.proto, node_def.proto, attr_value.proto,
 * tensor.proto and op_def.proto.
 */
import type { Attribute } from "./binding.ts";
import { MessageWriter } from "./message-writer.ts";

export interface ConstantValue {
  readonly dtype: number;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly attributes: readonly Attribute[];
  readonly value?: ConstantValue;
}

/** TF_AttrType */
const attributeTypes = { string: 0, int: 1, float: 2, bool: 3, type: 4, shape: 5 } as const;
/** versions.producer: TensorFlow 2.17 and newer read it. */
const graphVersion = 1882;
const opDefIsStateful = 17;
const opDefInputArg = 2;
const argDef = { typeAttr: 4, numberAttr: 5, typeListAttr: 6 } as const;

function writeShape(writer: MessageWriter, shape: readonly number[]): void {
  for (const length of shape) writer.message(2, (dimension) => dimension.int(1, length));
}

function writeScalar(writer: MessageWriter, type: number, value: unknown): void {
  switch (type) {
    case attributeTypes.string:
      writer.text(2, String(value));
      return;
    case attributeTypes.int:
      writer.int(3, Number(value));
      return;
    case attributeTypes.float:
      writer.float(4, Number(value));
      return;
    case attributeTypes.bool:
      writer.int(5, value ? 1 : 0);
      return;
    case attributeTypes.type:
      writer.int(6, Number(value));
      return;
    case attributeTypes.shape:
      writer.message(7, (shape) => writeShape(shape, value as readonly number[]));
      return;
    default:
      throw new TypeError(`an attribute of type ${type} cannot be written to a graph`);
  }
}

function writeAttribute(writer: MessageWriter, { type, value }: Attribute): void {
  if (!Array.isArray(value) || type === attributeTypes.shape) {
    writeScalar(writer, type, value);
    return;
  }
  writer.message(1, (list) => {
    for (const one of value) writeScalar(list, type, one);
  });
}

function writeConstant(writer: MessageWriter, { dtype, shape, bytes }: ConstantValue): void {
  writer
    .int(1, dtype)
    .message(2, (inner) => writeShape(inner, shape))
    .bytes(4, bytes);
}

export function encodeGraph(nodes: readonly GraphNode[]): Uint8Array {
  const graph = new MessageWriter();
  for (const { name, op, inputs, attributes, value } of nodes) {
    graph.message(1, (node) => {
      node.text(1, name).text(2, op);
      for (const input of inputs) node.text(3, input);
      for (const attribute of attributes) {
        node.message(5, (entry) =>
          entry.text(1, attribute.name).message(2, (inner) => writeAttribute(inner, attribute)),
        );
      }
      if (value !== undefined) {
        node.message(5, (entry) =>
          entry
            .text(1, "value")
            .message(2, (inner) => inner.message(8, (tensor) => writeConstant(tensor, value))),
        );
      }
    });
  }
  return graph.message(4, (versions) => versions.int(1, graphVersion)).done();
}

export interface OpFacts {
  /** Whether it keeps state between calls. */
  readonly isStateful: boolean;
  /** Of the inputs up to the first that is a list: the attribute that is its type, if one is. */
  readonly inputTypes: readonly (string | undefined)[];
}

export function readOpDef(opDef: Uint8Array): OpFacts {
  const fields = fieldsOf(opDef);
  const inputs = fields.flatMap(({ number, content }) =>
    number === opDefInputArg ? [new Map(fieldsOf(content).map((one) => [one.number, one]))] : [],
  );
  const list = inputs.findIndex(
    (one) => one.has(argDef.numberAttr) || one.has(argDef.typeListAttr),
  );
  const single = list < 0 ? inputs : inputs.slice(0, list);
  const text = new TextDecoder();
  return {
    isStateful: fields.some(({ number, value }) => number === opDefIsStateful && value !== 0),
    inputTypes: single.map((one) => {
      const attribute = one.get(argDef.typeAttr);
      return attribute && text.decode(attribute.content);
    }),
  };
}

/** Varints, by value, and what has a length, by content: an OpDef's fields are nothing else. */
function fieldsOf(message: Uint8Array) {
  let position = 0;
  const varint = () => {
    let result = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = message[position++]!;
      result += (byte & 127) * shift;
      if (byte < 128) return result;
    }
  };
  const fields: { number: number; value: number; content: Uint8Array }[] = [];
  while (position < message.length) {
    const tag = varint();
    const value = varint();
    const hasLength = (tag & 7) === 2;
    const content = message.subarray(position, position + (hasLength ? value : 0));
    position += content.length;
    fields.push({ number: tag >> 3, value, content });
  }
  return fields;
}
