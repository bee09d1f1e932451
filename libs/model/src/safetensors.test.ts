import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeSafetensors, encodeSafetensors } from "./safetensors.ts";

test("the bytes are those of the published format", () => {
  const values = Float32Array.of(1, 2);
  const file = Buffer.concat(encodeSafetensors([{ name: "w", shape: [2], values }], { a: "b" }));
  const header = '{"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}';
  equal(header.length, 79);
  equal(file.readBigUInt64LE(0), 80n);
  equal(file.subarray(8, 88).toString(), `${header} `);
  equal(file.subarray(88).toString("hex"), "0000803f00000040");
});

test("what was encoded is decoded, whatever the tensors", () => {
  const tensor = fc.record({
    shape: fc.array(fc.nat({ max: 4 }), { maxLength: 4 }),
    name: fc.string({ minLength: 1, maxLength: 20 }).filter((name) => !/^(__.*__|\d+)$/.test(name)),
  });
  fc.assert(
    fc.property(
      fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 6 }),
      (shapes) => {
        const tensors = shapes.map(({ name, shape }, index) => {
          const size = shape.reduce((product, length) => product * length, 1);
          return { name, shape, values: Float32Array.from({ length: size }, (_, i) => index + i) };
        });
        const file = Buffer.concat(encodeSafetensors(tensors, {}));
        const decoded = decodeSafetensors(file).tensors;
        const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
        deepEqual(decoded.toSorted(byName), tensors.toSorted(byName));
      },
    ),
  );
});

const whole = Buffer.concat(
  encodeSafetensors([{ name: "w", shape: [2], values: Float32Array.of(1, 2) }], {}),
);
const withHeader = (header: string) => {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, Buffer.from(header), Buffer.alloc(8)]);
};
const entry = (dtype: string, shape: unknown, from: number, to: number) =>
  withHeader(JSON.stringify({ w: { dtype, shape, data_offsets: [from, to] } }));

for (const [name, file] of Object.entries({
  "an empty file": Buffer.alloc(0),
  "a file cut short": whole.subarray(0, -1),
  "bytes after the last tensor": Buffer.concat([whole, Buffer.alloc(1)]),
  "a header longer than the file": Buffer.alloc(16, 0xff),
  "a header that is no JSON": withHeader("{oops}"),
  "a header that is a list": withHeader("[]"),
  "another type": entry("F64", [1], 0, 8),
  "offsets that do not fit the shape": entry("F32", [3], 0, 8),
  "a hole before the first tensor": entry("F32", [1], 4, 8),
  "offsets beyond the file": entry("F32", [4], 0, 16),
  "a negative shape": entry("F32", [-2], 0, 8),
  "no shape": entry("F32", null, 0, 8),
}))
  test(`${name} is refused`, () =>
    throws(() => decodeSafetensors(file), { code: "model-damaged" }));
