/** 500 damages of every kind, over every region of every file of a checkpoint: none goes unseen. */
import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { AppError, type JobCheckpoint } from "@coxswain/domain";
import { latestWholeCheckpoint, type Manifest, partRange, sha256Of } from "./checkpoint.ts";
import { manifestOf, type Store, storePaths } from "./store.ts";

const parameterFloats = 256;
const slotCount = 1;
const parts = 3;

type Files = Map<string, Uint8Array>;

/** What is read of a store; what a file holds is the test's business. */
function storeOf(files: Files): Store {
  const read = (path: string) => {
    const bytes = files.get(path);
    if (bytes === undefined) throw new AppError("checkpoint-not-found", path);
    return bytes;
  };
  async function* stream(path: string) {
    const bytes = read(path);
    for (let from = 0; from < bytes.length; from += 100) yield bytes.subarray(from, from + 100);
  }
  return { read: async (path: string) => read(path), stream } as unknown as Store;
}

function save(files: Files, step: number): JobCheckpoint {
  const vector = Float32Array.from({ length: parameterFloats * 2 }, (_, i) => step + i / 7);
  const bytes = new Uint8Array(vector.buffer);
  const listed = Array.from({ length: parts }, (_, part) => {
    const { from, to } = partRange(vector.length, part, parts);
    const path = storePaths.part("j", step, 1, part, parts);
    const content = bytes.slice(from * 4, to * 4);
    files.set(path, content);
    return { path, bytes: content.length, sha256: sha256Of(content) };
  });
  const weightsSha256 = sha256Of(bytes.subarray(0, parameterFloats * 4));
  const facts = { version: 1, step, parameterFloats, slotCount, weightsSha256 };
  const manifest = { ...facts, parts: listed } as unknown as Manifest;
  const text = new TextEncoder().encode(JSON.stringify(manifest));
  const saved = { step, path: storePaths.checkpoint("j", step), sha256: sha256Of(text) };
  files.set(manifestOf(saved), text);
  return saved as JobCheckpoint;
}

interface Target {
  readonly files: Files;
  readonly file: string;
  /** The same file of the checkpoint before, and another file of this one. */
  readonly older: string;
  readonly other: string;
  /** 0 to 1: where in the file. */
  readonly at: number;
}

const changed = ({ files, file }: Target, change: (bytes: Uint8Array) => Uint8Array) =>
  files.set(file, change(files.get(file)!.slice()));

const damages: Record<string, (target: Target) => unknown> = {
  "a flipped bit": (target) =>
    changed(target, (bytes) => {
      const bit = Math.floor(target.at * bytes.length * 8);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      return bytes;
    }),
  "a block of zeros": (target) =>
    changed(target, (bytes) => {
      const from = Math.floor(target.at * (bytes.length - 64));
      return bytes.fill(0, from, from + 64);
    }),
  "cut short": (target) =>
    changed(target, (bytes) => bytes.subarray(0, Math.floor(target.at * bytes.length))),
  "more at its end": (target) =>
    changed(target, (bytes) => Buffer.concat([bytes, new Uint8Array(1 + target.at * 99)])),
  empty: (target) => changed(target, () => new Uint8Array()),
  missing: ({ files, file }) => files.delete(file),
  "the one of the checkpoint before": ({ files, file, older }) =>
    files.set(file, files.get(older)!),
  "swapped with another": ({ files, file, other }) => {
    const [a, b] = [files.get(file)!, files.get(other)!];
    files.set(file, b).set(other, a);
  },
};

test("500 corruptions over every region: each is found, and the checkpoint before is used", async () => {
  const whole: Files = new Map();
  const [older, newer] = [save(whole, 10), save(whole, 20)];
  const filesOf = (saved: JobCheckpoint) => [
    ...Array.from({ length: parts }, (_, part) => storePaths.part("j", saved.step, 1, part, parts)),
    manifestOf(saved),
  ];
  const names = Object.keys(damages);
  for (let i = 0; i < 500; i += 1) {
    const files = new Map(whole);
    const name = names[i % names.length]!;
    const which = Math.floor(i / names.length) % (parts + 1);
    const at = (i * 0.6180339887) % 1;
    const [file, before] = [filesOf(newer)[which]!, filesOf(older)[which]!];
    damages[name]!({ files, file, older: before, other: filesOf(newer)[(which + 1) % 4]!, at });
    const reports: number[] = [];
    const found = await latestWholeCheckpoint(storeOf(files), [older, newer], ({ step }) =>
      reports.push(step),
    );
    const where = `${i}: ${name}, file ${which}, at ${at}`;
    deepEqual([found?.checkpoint.step, found?.vector[0], reports], [10, 10, [20]], where);
  }
  const found = await latestWholeCheckpoint(storeOf(whole), [older, newer], () => undefined);
  equal(found?.vector[0], 20);
});
