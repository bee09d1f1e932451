/** WebAssembly modules of a few functions on one imported shared memory, written out as bytes. */

export interface WasmFunction {
  readonly name: string;
  readonly parameters: readonly number[];
  readonly results?: readonly number[];
  /** How many locals of one type, in order. */
  readonly locals: readonly { readonly count: number; readonly type: number }[];
  /** Without the closing `end`. */
  readonly body: readonly number[];
}

export const types = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;

/** Opcodes, as far as they are used here. */
export const op = {
  block: [0x02, 0x40],
  loop: [0x03, 0x40],
  end: [0x0b],
  branch: (depth: number) => [0x0c, depth],
  branchIf: (depth: number) => [0x0d, depth],
  get: (local: number) => [0x20, local],
  set: (local: number) => [0x21, local],
  i32Const: (value: number) => [0x41, ...signed(value)],
  i32LessSigned: [0x48],
  i32Add: [0x6a],
  i32Subtract: [0x6b],
  memoryCopy: [0xfc, 0x0a, 0, 0],
  v128Load: [0xfd, 0x00, 4, 0],
  v128Store: [0xfd, 0x0b, 4, 0],
  f64Add: [0xa0],
  /** By its bits. */
  f32Const: (bits: number) => [0x43, ...[0, 8, 16, 24].map((shift) => (bits >>> shift) & 255)],
  f32x4Splat: [0xfd, 0x13],
  /** The first where the second, a mask, is not set; else 0. */
  v128AndNot: [0xfd, 0x4f],
  /** The upper two of four floats in the place of the lower two. */
  upperHalf: [0xfd, 0x0d, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7],
  f64x2: {
    ofLowerFloats: [0xfd, 0x5f],
    lane: (index: 0 | 1) => [0xfd, 0x21, index],
    add: [0xfd, 0xf0, 0x01],
    multiply: [0xfd, 0xf2, 0x01],
  },
  f32x4: {
    less: [0xfd, 0x43],
    absolute: [0xfd, 0xe0, 0x01],
    squareRoot: [0xfd, 0xe3, 0x01],
    add: [0xfd, 0xe4, 0x01],
    subtract: [0xfd, 0xe5, 0x01],
    multiply: [0xfd, 0xe6, 0x01],
    divide: [0xfd, 0xe7, 0x01],
    minimum: [0xfd, 0xe8, 0x01],
    maximum: [0xfd, 0xe9, 0x01],
  },
} as const;

const pagesMax = 65_536;

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; ) {
    const low = rest & 127;
    rest >>>= 7;
    if (rest === 0) return [...bytes, low];
    bytes.push(low | 128);
  }
}

function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; ) {
    const low = rest & 127;
    rest >>= 7;
    if ((rest === 0 && low < 64) || (rest === -1 && low >= 64)) return [...bytes, low];
    bytes.push(low | 128);
  }
}

const counted = (items: readonly (readonly number[])[]) => [
  ...unsigned(items.length),
  ...items.flat(),
];
const sized = (bytes: readonly number[]) => [...unsigned(bytes.length), ...bytes];
const section = (id: number, items: readonly (readonly number[])[]) => [
  id,
  ...sized(counted(items)),
];
const nameOf = (text: string) => sized([...new TextEncoder().encode(text)]);

/** Local 3 of `rangeLoop` and the like: a body that runs while `bytes >= 16`, then takes 16 from it. */
export function loopOver(
  bytes: number,
  pointers: readonly number[],
  body: readonly number[],
): number[] {
  const advance = (local: number, by: readonly number[]) => [
    ...op.get(local),
    ...op.i32Const(16),
    ...by,
    ...op.set(local),
  ];
  return [
    ...op.block,
    ...op.loop,
    ...[...op.get(bytes), ...op.i32Const(16), ...op.i32LessSigned, ...op.branchIf(1)],
    ...body,
    ...pointers.flatMap((pointer) => advance(pointer, op.i32Add)),
    ...advance(bytes, op.i32Subtract),
    ...op.branch(0),
    ...op.end,
    ...op.end,
  ];
}

/** The exported functions, on this memory. */
export function instantiate(
  memory: WebAssembly.Memory,
  functions: readonly WasmFunction[],
): Readonly<Record<string, (...values: number[]) => number | undefined>> {
  const shared = 3;
  const bytes = new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(
      1,
      functions.map(({ parameters, results = [] }) => [
        0x60,
        ...counted(parameters.map((type) => [type])),
        ...counted(results.map((type) => [type])),
      ]),
    ),
    ...section(2, [[...nameOf("m"), ...nameOf("m"), 2, shared, 0, ...unsigned(pagesMax)]]),
    ...section(
      3,
      functions.map((_, index) => [index]),
    ),
    ...section(
      7,
      functions.map(({ name }, index) => [...nameOf(name), 0, index]),
    ),
    ...section(
      10,
      functions.map(({ locals, body }) =>
        sized([...counted(locals.map(({ count, type }) => [count, type])), ...body, ...op.end]),
      ),
    ),
  ]);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    m: { m: memory },
  });
  return exports as ReturnType<typeof instantiate>;
}
