/**
 * Which samples a shard of a step holds: a pure function of (seed, step, shard), and nothing else.
 *
 * The job's samples are one endless stream. Position p is sample `permutation(seed, epoch)(p mod n)`
 * of epoch `floor(p / n)`; step s holds the positions `s * batchSize <= p < (s + 1) * batchSize`,
 * and shard k of V the k-th part of them. So each epoch holds each sample exactly once, each batch
 * is full, and the position in the data is a step number.
 *
 * The permutation is a keyed Feistel network over the next even power of two, walked until it falls
 * below n (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). It needs no
 * memory: a billion samples cost nothing.
 */
import { assert } from "./assert.ts";

/** A bijection of 0 <= index < samples. */
export type Permutation = (index: number) => number;

const rounds = 6;

/** Finalizer of MurmurHash3 (Appleby, public domain): mixes 32 bits well. */
function mix(value: number): number {
  let v = value | 0;
  v = Math.imul(v ^ (v >>> 16), 0x85ebca6b);
  v = Math.imul(v ^ (v >>> 13), 0xc2b2ae35);
  return (v ^ (v >>> 16)) >>> 0;
}

/** The order of one epoch. `samples` is at most 2^50. */
export function permutation(seed: number, epoch: number, samples: number): Permutation {
  assert(
    Number.isSafeInteger(samples) && samples >= 1 && samples <= 2 ** 50,
    "1 <= samples <= 2^50",
  );
  const halfBits = Math.max(1, Math.ceil(Math.log2(samples) / 2));
  const half = 2 ** halfBits;
  const keys = Array.from({ length: rounds }, (_, round) =>
    mix(mix(mix(seed ^ 0x5bd1e995) ^ epoch) + Math.imul(round + 1, 0x9e3779b9)),
  );
  const walk = (index: number): number => {
    let left = Math.floor(index / half);
    let right = index % half;
    for (const key of keys) {
      const mixed = mix(right ^ key) % half;
      const next = left ^ mixed;
      left = right;
      right = next;
    }
    return left * half + right;
  };
  return (index) => {
    assert(index >= 0 && index < samples, "the index is below the number of samples");
    // Half of the values or more lie below n, so a walk ends soon.
    let value = walk(index);
    while (value >= samples) value = walk(value);
    return value;
  };
}

export interface ShardPlace {
  readonly seed: number;
  readonly samples: number;
  readonly batchSize: number;
  readonly shards: number;
  readonly step: number;
  readonly shard: number;
}

/** The sample indices of one shard of one step: `batchSize / shards` of them, in order. */
export function shardSamples(place: ShardPlace): number[] {
  const size = place.batchSize / place.shards;
  assert(Number.isInteger(size), "batchSize is a multiple of shards");
  const first = place.step * place.batchSize + place.shard * size;
  let epoch = -1;
  let order: Permutation = (index) => index;
  return Array.from({ length: size }, (_, i) => {
    const position = first + i;
    const epochOfPosition = Math.floor(position / place.samples);
    if (epochOfPosition !== epoch) {
      epoch = epochOfPosition;
      order = permutation(place.seed, epoch, place.samples);
    }
    return order(position % place.samples);
  });
}
