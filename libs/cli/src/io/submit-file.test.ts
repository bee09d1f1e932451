import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { AppError } from "@coxswain/domain";
import { bundleProgram } from "./bundle-program.ts";
import { applySettings, readJobFile } from "./submit-file.ts";

const cases: Record<string, { set: string[]; want: unknown }> = {
  "a number": { set: ["spec.epochs=2"], want: { spec: { epochs: 2 } } },
  "a string": {
    set: ["metadata.name=try"],
    want: { spec: { epochs: 1 }, metadata: { name: "try" } },
  },
  "an object": {
    set: ["spec.workers={min: 1, max: 2}"],
    want: { spec: { epochs: 1, workers: { min: 1, max: 2 } } },
  },
  "null takes the field away": { set: ["spec.epochs=null"], want: { spec: {} } },
  "the value may hold an equals sign": {
    set: ["spec.data=a=b"],
    want: { spec: { epochs: 1, data: "a=b" } },
  },
  "the last one wins": { set: ["spec.epochs=2", "spec.epochs=3"], want: { spec: { epochs: 3 } } },
};

for (const [name, { set, want }] of Object.entries(cases)) {
  test(`--set: ${name}`, () => {
    const job = { spec: { epochs: 1 } };
    applySettings(job, set);
    assert.deepEqual(job, want);
  });
}

test("--set without an equals sign says how it is written", () => {
  assert.throws(() => applySettings({}, ["spec.epochs"]), /\[invalid-spec\].*path=value/);
});

async function folder(t: { after(run: () => Promise<void>): void }): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "coxswain-cli-"));
  t.after(() => rm(made, { recursive: true, force: true }));
  return made;
}

test("a job file with a mistake names its place", async (t) => {
  const path = join(await folder(t), "job.yaml");
  await writeFile(path, "spec: {epochs: 1\n");
  await assert.rejects(readJobFile(path), /\[invalid-spec\].*line/s);
  await assert.rejects(readJobFile(`${path}.not`), { code: "file-not-found" });
});

test("a bundle's hash does not depend on the folder it lies in", async (t) => {
  const [a, b] = [await folder(t), await folder(t)];
  const source = 'import { twice } from "./other.ts";\nexport default twice(21);\n';
  for (const place of [a, b]) {
    await writeFile(join(place, "program.ts"), source);
    await writeFile(join(place, "other.ts"), "export const twice = (n: number) => 2 * n;\n");
  }
  const [one, two] = await Promise.all([
    bundleProgram(join(a, "program.ts")),
    bundleProgram(join(b, "program.ts")),
  ]);
  assert.equal(one.sha256, two.sha256);
  assert.match(Buffer.from(one.bytes).toString(), /2 \* n/);
});

test("a program that does not parse is refused in the words of the bundler", async (t) => {
  const path = join(await folder(t), "program.ts");
  await writeFile(path, "export default (;\n");
  await assert.rejects(bundleProgram(path), (error) => {
    assert.ok(error instanceof AppError);
    assert.equal(error.code, "program-invalid");
    assert.match(error.message, /program\.ts:1/);
    return true;
  });
});
