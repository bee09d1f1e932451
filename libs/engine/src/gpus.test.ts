import { deepEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { lookForGpus, parseGpus, visibleOf } from "./gpus.ts";

const h100 = "NVIDIA H100 80GB HBM3";
const uuid = (last: number) => `GPU-5e10b7bc-91f1-640a-e927-963f7f82de4${last}`;

test("a line for each GPU", () => {
  const text = `0, ${uuid(0)}, ${h100}, 81559, 580.95.05\n1, ${uuid(1)}, ${h100}, 81559, 580.95.05\n`;
  deepEqual(parseGpus(text), [
    { index: 0, uuid: uuid(0), model: h100, memoryMib: 81_559, driver: "580.95.05" },
    { index: 1, uuid: uuid(1), model: h100, memoryMib: 81_559, driver: "580.95.05" },
  ]);
});

const cases: Record<string, readonly [text: string, want: readonly (readonly [string, number])[]]> =
  {
    "one of Turing's time": [`0, ${uuid(0)}, Tesla T4, 15360, 610.57.04\n`, [["Tesla T4", 15_360]]],
    "line ends of Windows": [
      `0, ${uuid(0)}, NVIDIA L4, 23034, 580.95.05\r\n`,
      [["NVIDIA L4", 23_034]],
    ],
    "memory that is the machine's own": [
      `0, ${uuid(0)}, NVIDIA GB10, [N/A], 580.95.05\n`,
      [["NVIDIA GB10", 0]],
    ],
    "a driver without GPUs": ["No devices were found\n", []],
    "one that has fallen off the bus beside one that has not": [
      `Unable to determine the device handle for GPU0000:01:00.0: GPU has fallen off the bus.\n1, ${uuid(1)}, NVIDIA A10, 23028, 580.95.05\n`,
      [["NVIDIA A10", 23_028]],
    ],
    nothing: ["", []],
  };
for (const [name, [text, want]] of Object.entries(cases))
  test(name, () => {
    deepEqual(
      parseGpus(text).map(({ model, memoryMib }) => [model, memoryMib]),
      want,
    );
  });

test("what is asked of nvidia-smi", async () => {
  const asked: string[] = [];
  await lookForGpus(async (program, args) => {
    asked.push(program, ...args);
    return "";
  });
  deepEqual(asked, [
    "nvidia-smi",
    "--query-gpu=index,uuid,name,memory.total,driver_version",
    "--format=csv,noheader,nounits",
  ]);
});

test("without nvidia-smi there is no GPU; one that fails says why", async () => {
  const failing = (error: object) => () => Promise.reject(Object.assign(new Error("it"), error));
  deepEqual(await lookForGpus(failing({ code: "ENOENT" })), []);
  const words = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.";
  await rejects(lookForGpus(failing({ code: 9, stdout: `${words}\n` })), {
    message: `nvidia-smi cannot say which GPUs there are: ${words}`,
  });
});

test("a process sees the GPUs that its variable names, in its order", () => {
  const gpus = parseGpus(
    `0, ${uuid(0)}, ${h100}, 81559, 580.95.05\n1, ${uuid(1)}, ${h100}, 81559, 580.95.05\n`,
  );
  const seen = (visible: string | undefined) => visibleOf(gpus, visible).map(({ index }) => index);
  deepEqual([undefined, "", uuid(1), `${uuid(1)},${uuid(0)}`, "1", "GPU-other"].map(seen), [
    [0, 1],
    [],
    [1],
    [1, 0],
    [1],
    [],
  ]);
});
