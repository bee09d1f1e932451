/** Writes a dataset into a folder; what names everything comes last. */
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "@coxswain/domain";
import { encodeExample } from "./example.ts";
import {
  type DatasetManifest,
  indexFile,
  manifestFile,
  type Shard,
  type SplitName,
  storedBytes,
} from "./manifest.ts";
import { encodeRecord } from "./tfrecord.ts";

/** One sample as stored. */
export interface Sample {
  readonly inputs: Uint8Array;
  readonly labels: Uint8Array;
}

export interface DatasetSource {
  readonly features: DatasetManifest["features"];
  readonly splits: Readonly<Record<SplitName, AsyncIterable<Sample> | Iterable<Sample>>>;
}

const shardBytesDefault = 64 * 1024 * 1024;

/**
 * The same samples give the same bytes.
 *
 * @param shardBytes a file is ended once it is so large
 * @throws AppError `dataset-invalid` for a sample of another size than the features say, or none
 */
export async function writeDataset(
  folder: string,
  { features, splits }: DatasetSource,
  shardBytes = shardBytesDefault,
): Promise<DatasetManifest> {
  await mkdir(folder, { recursive: true });
  await clear(folder);
  const written: Record<SplitName, Shard[]> = { train: [], test: [] };
  for (const split of ["train", "test"] as const) {
    for await (const shard of writeShards(folder, split, features, splits[split], shardBytes))
      written[split].push(shard);
    if (written[split].length === 0)
      throw new AppError("dataset-invalid", `there is no sample in ${split}`);
  }
  const manifest: DatasetManifest = { format: "coxswain-dataset-1", features, splits: written };
  const temporary = join(folder, `.${manifestFile}.tmp`);
  await writeFile(temporary, `${JSON.stringify(manifest, undefined, 1)}\n`, { flush: true });
  await rename(temporary, join(folder, manifestFile));
  return manifest;
}

/** Takes away a dataset that was there before: first what names its files. */
async function clear(folder: string): Promise<void> {
  const files = (await readdir(folder)).filter((file) =>
    /^(train|test)-\d+\.tfrecord(\.idx)?$/.test(file),
  );
  for (const file of [manifestFile, ...files]) await rm(join(folder, file), { force: true });
}

async function* writeShards(
  folder: string,
  split: SplitName,
  features: DatasetManifest["features"],
  samples: AsyncIterable<Sample> | Iterable<Sample>,
  shardBytes: number,
): AsyncGenerator<Shard> {
  let writer: ShardWriter | undefined;
  let shards = 0;
  for await (const { inputs, labels } of samples) {
    const isRight =
      inputs.length === storedBytes(features.inputs) &&
      labels.length === storedBytes(features.labels);
    if (!isRight) throw new AppError("dataset-invalid", "a sample has not the features' size");
    writer ??= await ShardWriter.open(folder, `${split}-${String(shards).padStart(5, "0")}`);
    await writer.write(encodeRecord(encodeExample({ inputs, labels })));
    if (writer.bytes < shardBytes) continue;
    yield await writer.end();
    writer = undefined;
    shards += 1;
  }
  if (writer !== undefined) yield await writer.end();
}

const bufferBytes = 1024 * 1024;

class ShardWriter {
  bytes = 0;
  readonly #folder: string;
  readonly #name: string;
  readonly #file: FileHandle;
  readonly #hash = createHash("sha256");
  readonly #index: string[] = [];
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #recordBytes: number | undefined;
  #isUniform = true;

  private constructor(folder: string, name: string, file: FileHandle) {
    this.#folder = folder;
    this.#name = name;
    this.#file = file;
  }

  static async open(folder: string, base: string): Promise<ShardWriter> {
    const name = `${base}.tfrecord`;
    return new ShardWriter(folder, name, await open(join(folder, name), "w"));
  }

  async write(record: Uint8Array): Promise<void> {
    this.#index.push(`${this.bytes} ${record.length}\n`);
    this.#recordBytes ??= record.length;
    this.#isUniform &&= record.length === this.#recordBytes;
    this.bytes += record.length;
    this.#pending.push(record);
    this.#pendingBytes += record.length;
    if (this.#pendingBytes >= bufferBytes) await this.#flush();
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#hash.update(bytes);
    await this.#file.writeFile(bytes);
  }

  async end(): Promise<Shard> {
    await this.#flush();
    await this.#file.sync();
    await this.#file.close();
    await writeFile(join(this.#folder, indexFile(this.#name)), this.#index.join(""));
    return {
      file: this.#name,
      records: this.#index.length,
      bytes: this.bytes,
      sha256: this.#hash.digest("hex"),
      ...(this.#isUniform && { recordBytes: this.#recordBytes! }),
    };
  }
}
