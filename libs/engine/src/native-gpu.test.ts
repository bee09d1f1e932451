/** The GPU's way up to the call of the device: nothing here needs one. */
import { deepEqual, equal, match, rejects, throws } from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { needsGpu } from "@coxswain/domain";
import { openTensorflow } from "./native-binding.ts";
import { nativeIdentity, nativePlace, tensorflowVersion } from "./native-place.ts";
import { availableEngines, openRecordedEngine } from "./open-engine.ts";
import { contextConfig, functionConfig } from "./tensorflow-config.ts";

const gpu = {
  index: 0,
  uuid: "GPU-5e10b7bc-91f1-640a-e927-963f7f82de40",
  model: "NVIDIA H100 80GB HBM3",
  memoryMib: 81_559,
  driver: "580.95.05",
};
const place = { tensorflow: "/cache/tf", addon: "/cache/tf/addon.node", addonSource: "" };
const processor = "/job:localhost/replica:0/task:0/device:CPU:0";
const firstGpu = "/job:localhost/replica:0/task:0/device:GPU:0";

/** The addon, with devices that are made up. */
function fakeBinding(devices: string[]) {
  const asked: { libraries?: readonly string[]; variables?: Map<string, string> } = {};
  return {
    asked,
    devices: () => devices,
    init: (libraries: readonly string[], variables: readonly string[]) => {
      asked.libraries = libraries;
      const pairs = variables.flatMap((name, i) =>
        i % 2 === 0 ? [[name, variables[i + 1]!]] : [],
      );
      asked.variables = new Map(pairs as [string, string][]);
      return tensorflowVersion;
    },
  };
}

test("a GPU: its operators are deterministic, float32 stays float32, memory grows", () => {
  const binding = fakeBinding([processor, firstGpu]);
  openTensorflow(binding, place, { gpu });
  const { libraries, variables } = binding.asked;
  deepEqual(libraries, [
    "/cache/tf/lib/libtensorflow_framework.so.2",
    "/cache/tf/lib/libtensorflow_cc.so.2",
  ]);
  const wanted = {
    TF_DETERMINISTIC_OPS: "1",
    TF_CUDNN_DETERMINISTIC: "1",
    CUBLAS_WORKSPACE_CONFIG: ":4096:8",
    NVIDIA_TF32_OVERRIDE: "0",
    TF_FORCE_GPU_ALLOW_GROWTH: "true",
  };
  for (const [name, value] of Object.entries(wanted)) equal(variables!.get(name), value, name);
});

test("no GPU: nothing of that is asked for", () => {
  const binding = fakeBinding([processor]);
  openTensorflow(binding, place);
  equal(binding.asked.variables!.has("TF_DETERMINISTIC_OPS"), false);
});

test("a GPU that TensorFlow does not see is an error that says what it sees", () => {
  throws(() => openTensorflow(fakeBinding([processor]), place, { gpu }), {
    message: `TensorFlow sees no GPU, though the driver tells of NVIDIA H100 80GB HBM3 (driver 580.95.05); it sees ${processor}. Is the driver one for CUDA 12, and was \`cox engine install native-gpu\` whole?`,
  });
});

test("a GPU where its build of TensorFlow is not installed: engine-unavailable", async () => {
  await rejects(openRecordedEngine("native", { cacheDir: "/nowhere", gpu }), {
    code: "engine-unavailable",
  });
});

test("the identity says model, driver and that operators are deterministic", () => {
  const { text } = nativeIdentity({ gpu });
  match(text, / gpu-nvidia-h100-80gb-hbm3 driver-580\.95\.05 deterministic /);
  deepEqual([needsGpu(text), needsGpu(nativeIdentity().text)], [true, false]);
});

test("a node offers the engine for its GPUs first, where it is installed and they are alike", async (t) => {
  const cacheDir = await mkdtemp(join(tmpdir(), "coxswain-gpu-"));
  t.after(() => rm(cacheDir, { recursive: true, force: true }));
  const best = async (gpus: readonly (typeof gpu)[]) => {
    const [first] = await availableEngines({ cacheDir, gpus });
    return needsGpu(first!.text);
  };
  equal(await best([gpu, gpu]), false);
  const { addon } = await nativePlace(cacheDir, "gpu");
  await mkdir(dirname(addon), { recursive: true });
  await writeFile(addon, "");
  deepEqual(
    [await best([]), await best([gpu, gpu]), await best([gpu, { ...gpu, model: "Tesla T4" }])],
    [false, true, false],
  );
});

/** Fields of a protocol buffer's outermost message, by number; those of messages as hexadecimal. */
function fieldsOf(bytes: Uint8Array): Record<number, number | string> {
  const found: Record<number, number | string> = {};
  let at = 0;
  const varint = () => {
    let [value, shift] = [0n, 0n];
    for (; bytes[at]! > 127; at += 1, shift += 7n) value |= BigInt(bytes[at]! & 127) << shift;
    value |= BigInt(bytes[at]!) << shift;
    at += 1;
    return Number(BigInt.asIntN(64, value));
  };
  while (at < bytes.length) {
    const tag = varint();
    const value = varint();
    const isMessage = (tag & 7) === 2;
    found[tag >> 3] = isMessage
      ? Buffer.from(bytes.subarray(at, at + value)).toString("hex")
      : value;
    if (isMessage) at += value;
  }
  return found;
}

const noRewriting = "5203980101"; // graph_options.rewrite_options.disable_meta_optimizer
const growth = "2001"; // gpu_options.allow_growth

test("what TensorFlow is told: on a GPU the pool's threads run functions, else the caller's", () => {
  const singleThreaded = `1a18${Buffer.from("SINGLE_THREADED_EXECUTOR").toString("hex")}`;
  deepEqual(fieldsOf(functionConfig(false)), { 2: 1, 5: -1, 10: noRewriting, 16: singleThreaded });
  deepEqual(fieldsOf(functionConfig(true)), { 2: 1, 5: 1, 6: growth, 7: 1, 10: noRewriting });
  deepEqual(fieldsOf(contextConfig(false)), { 2: 1, 5: 1 });
  deepEqual(fieldsOf(contextConfig(true)), { 2: 1, 5: 1, 6: growth, 7: 1 });
});
