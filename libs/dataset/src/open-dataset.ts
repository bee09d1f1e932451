/**
 * A dataset in files, sample by sample. Memory holds no sample but those being read: where all records
 * of a file have one size, not even an index.
 */
import { AppError } from "@coxswain/domain";
import { decodeFeature } from "./decode-feature.ts";
import { decodeExample } from "./example.ts";
import {
  type DatasetManifest,
  indexFile,
  manifestFile,
  parseManifest,
  type Shard,
  type SplitName,
  shapeOf,
  sizeOf,
  storedBytes,
} from "./manifest.ts";
import { openRanges, type Ranges } from "./ranges.ts";
import { decodeRecord } from "./tfrecord.ts";

/** Where a record lies: `record` counts from 0 in its file, `offset` and `bytes` are in bytes. */
export interface RecordPlace {
  readonly file: string;
  readonly record: number;
  readonly offset: number;
  readonly bytes: number;
}

/** Records of files with records of several sizes whose index is in memory: 16 bytes each. */
const indexedRecordsMax = 16_000_000;

/** The samples of one split; has the shape of a program's `StreamedSplit`. */
export class RecordSplit {
  readonly samples: number;
  readonly #ranges: Ranges;
  readonly #features: DatasetManifest["features"];
  readonly #shards: readonly Shard[];
  /** Samples before each shard. */
  readonly #before: readonly number[];
  readonly #indexes = new Map<string, Promise<Float64Array>>();

  constructor(ranges: Ranges, manifest: DatasetManifest, split: SplitName) {
    this.#ranges = ranges;
    this.#features = manifest.features;
    this.#shards = manifest.splits[split];
    let samples = 0;
    this.#before = this.#shards.map(({ records }) => {
      samples += records;
      return samples - records;
    });
    this.samples = samples;
    const indexed = this.#shards
      .filter(({ recordBytes }) => recordBytes === undefined)
      .reduce((sum, { records }) => sum + records, 0);
    if (indexed > indexedRecordsMax)
      throw new AppError(
        "dataset-invalid",
        `${indexed} records of several sizes: at most ${indexedRecordsMax} are indexed`,
      );
  }

  /** @throws AppError `record-damaged` with file, record and offset; `dataset-invalid` */
  async read(indices: readonly number[]) {
    const { inputs, labels } = this.#features;
    const [inputFloats, labelFloats] = [sizeOf(shapeOf(inputs)), sizeOf(shapeOf(labels))];
    const batch = {
      inputs: new Float32Array(indices.length * inputFloats),
      labels: new Float32Array(indices.length * labelFloats),
    };
    const one = async (index: number, row: number) => {
      const example = await this.#example(await this.placeOf(index));
      const of = (vector: Float32Array, floats: number) =>
        vector.subarray(row * floats, (row + 1) * floats);
      decodeFeature(inputs, example.inputs, of(batch.inputs, inputFloats));
      decodeFeature(labels, example.labels, of(batch.labels, labelFloats));
    };
    await Promise.all(indices.map(one));
    return batch;
  }

  async placeOf(index: number): Promise<RecordPlace> {
    let [low, high] = [0, this.#shards.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#before[middle]! <= index) low = middle;
      else high = middle - 1;
    }
    const { file, recordBytes, records } = this.#shards[low]!;
    const record = index - this.#before[low]!;
    if (recordBytes !== undefined)
      return { file, record, offset: record * recordBytes, bytes: recordBytes };
    const known = this.#indexes.get(file) ?? readIndex(this.#ranges, file, records);
    this.#indexes.set(file, known);
    const pairs = await known;
    return { file, record, offset: pairs[2 * record]!, bytes: pairs[2 * record + 1]! };
  }

  async #example(place: RecordPlace) {
    const bytes = await this.#ranges.range(place.file, place.offset, place.bytes);
    if (bytes.length < place.bytes)
      throw damagedRecord(place, `the file ends after ${bytes.length} of its ${place.bytes} bytes`);
    const decoded = decodeRecord(bytes);
    if (decoded.kind === "damaged") throw damagedRecord(place, decoded.reason);
    const { inputs, labels } = decodeExample(decoded.data) ?? {};
    if (inputs?.length !== storedBytes(this.#features.inputs))
      throw damagedRecord(place, "its inputs have not the size of the dataset's");
    if (labels?.length !== storedBytes(this.#features.labels))
      throw damagedRecord(place, "its labels have not the size of the dataset's");
    return { inputs, labels };
  }
}

export function damagedRecord(place: RecordPlace, reason: string): AppError {
  const { file, record, offset } = place;
  const sentence = `${file}, record ${record} at byte ${offset}: ${reason}`;
  return new AppError("record-damaged", sentence, { details: { file, record, offset } });
}

/** Lines "offset bytes": [2 * records] */
async function readIndex(ranges: Ranges, file: string, records: number): Promise<Float64Array> {
  const text = new TextDecoder().decode(await ranges.file(indexFile(file)));
  const numbers = Float64Array.from(text.trim().split(/\s+/), Number);
  if (numbers.length === 2 * records && numbers.every((number) => number >= 0)) return numbers;
  throw new AppError("dataset-invalid", `${indexFile(file)} does not name ${records} records`);
}

/**
 * A dataset that `cox dataset-pack`, or another writer of the format, has made.
 *
 * @param source an absolute path, file:///FOLDER, or s3://BUCKET/PREFIX
 * @throws AppError `dataset-invalid`
 */
export async function openDataset(source: string) {
  const ranges = await openRanges(source);
  const manifest = parseManifest(new TextDecoder().decode(await ranges.file(manifestFile)));
  const { inputs, labels } = manifest.features;
  return {
    manifest,
    ranges,
    inputShape: shapeOf(inputs),
    labelShape: shapeOf(labels),
    train: new RecordSplit(ranges, manifest, "train"),
    test: new RecordSplit(ranges, manifest, "test"),
  };
}
