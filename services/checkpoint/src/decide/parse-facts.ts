/** The facts that a worker tells with a part, checked before anything is built on them. */

import { type Static, Type, Value } from "@coxswain/schema";
import type { CheckpointFacts } from "@coxswain/store";

const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const positive = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });

/** Slots per parameter: Adam has two. */
const slotsMax = 8;

export const FactsSchema = Type.Object({
  step: count,
  steps: positive,
  generation: positive,
  seed: count,
  engine: Type.String(),
  programHash: Type.String(),
  shards: positive,
  batchSize: positive,
  parameterFloats: count,
  slotCount: Type.Integer({ minimum: 0, maximum: slotsMax }),
  segments: Type.Array(
    Type.Object({
      name: Type.String({ minLength: 1 }),
      shape: Type.Array(count),
      offset: count,
      size: count,
      trained: Type.Optional(Type.Literal(false)),
    }),
  ),
  samplesTrain: Type.Optional(positive),
  modelTopology: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  weightsSha256: Type.String({ pattern: "^[0-9a-f]{64}$" }),
  final: Type.Boolean(),
});

export type FactsVerdict =
  | { readonly kind: "facts"; readonly facts: CheckpointFacts }
  | { readonly kind: "wrong"; readonly reason: string };

export function parseFacts(manifest: unknown): FactsVerdict {
  if (!Value.Check(FactsSchema, manifest)) {
    const [first] = Value.Errors(FactsSchema, manifest);
    return wrong(`the facts are wrong at ${first?.instancePath || "/"}: ${first?.message}`);
  }
  const bad = manifest.segments.find((segment) => !isPlaced(segment, manifest.parameterFloats));
  if (bad !== undefined)
    return wrong(`${bad.name} of shape [${bad.shape}] does not lie within the parameters`);
  const overlap = manifest.segments
    .toSorted((a, b) => a.offset - b.offset)
    .find((segment, index, sorted) => segment.offset < endOf(sorted[index - 1]));
  if (overlap !== undefined) return wrong(`${overlap.name} overlaps another parameter`);
  return { kind: "facts", facts: manifest as CheckpointFacts };
}

type Segment = Static<typeof FactsSchema>["segments"][number];

function isPlaced({ shape, offset, size }: Segment, parameterFloats: number): boolean {
  const product = shape.reduce((so, length) => so * length, 1);
  return product === size && offset + size <= parameterFloats;
}

function endOf(segment: Segment | undefined): number {
  return segment === undefined ? 0 : segment.offset + segment.size;
}

function wrong(reason: string): FactsVerdict {
  return { kind: "wrong", reason };
}
