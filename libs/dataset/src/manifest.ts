/** What `dataset.json` says: see docs/dataset-format.md. */
import { AppError } from "@coxswain/domain";
import { type Static, Type, Value } from "@coxswain/schema";

const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const shape = Type.Array(Type.Integer({ minimum: 1 }), { maxItems: 8 });

export const FeatureSchema = Type.Object({
  dtype: Type.Union([Type.Literal("uint8"), Type.Literal("float32")]),
  /** Of one sample, as stored. */
  shape,
  /** Stored values are divided by this, in float32. */
  divideBy: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  /** The stored value is a class, 0 to 255; the sample has so many values, one of them 1. */
  classes: Type.Optional(Type.Integer({ minimum: 1, maximum: 256 })),
});

const ShardSchema = Type.Object({
  file: Type.String({ pattern: "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$" }),
  records: Type.Integer({ minimum: 1, maximum: 2 ** 32 }),
  bytes: count,
  sha256: Type.String({ pattern: "^[0-9a-f]{64}$" }),
  /** Of each record, its frame included, where all have the same: then no index is read. */
  recordBytes: Type.Optional(count),
});

export const ManifestSchema = Type.Object({
  format: Type.Literal("coxswain-dataset-1"),
  features: Type.Object({ inputs: FeatureSchema, labels: FeatureSchema }),
  splits: Type.Object({
    train: Type.Array(ShardSchema, { minItems: 1, maxItems: 1_000_000 }),
    test: Type.Array(ShardSchema, { minItems: 1, maxItems: 1_000_000 }),
  }),
});

export type Feature = Static<typeof FeatureSchema>;
export type Shard = Static<typeof ShardSchema>;
export type DatasetManifest = Static<typeof ManifestSchema>;
export type SplitName = keyof DatasetManifest["splits"];

export const manifestFile = "dataset.json";
export const indexFile = (file: string) => `${file}.idx`;

/** @throws AppError `dataset-invalid` with the field that is wrong */
export function parseManifest(text: string): DatasetManifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AppError("dataset-invalid", `${manifestFile} is no JSON`, { cause });
  }
  if (Value.Check(ManifestSchema, value)) return value;
  const [first] = Value.Errors(ManifestSchema, value);
  const place = first?.instancePath || "/";
  throw new AppError("dataset-invalid", `${manifestFile} at ${place}: ${first?.message}`);
}

/** Bytes of one sample's feature as stored. */
export function storedBytes({ dtype, shape: stored }: Feature): number {
  return sizeOf(stored) * (dtype === "float32" ? 4 : 1);
}

/** Shape of one sample's feature as the program sees it. */
export function shapeOf({ shape: stored, classes }: Feature): readonly number[] {
  return classes === undefined ? stored : [...stored, classes];
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
