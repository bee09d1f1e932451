import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { gpuOfferOf, labelsOf, type Machine, type Offer, offerOf } from "./offer.ts";

const gibibyte = 1024 ** 3;
const unset: Offer = { cpu: 0, memoryMib: 0 };
const machine: Machine = { cores: 8, memoryBytes: 10 * gibibyte, memoryLimitBytes: 0 };

const cases: Record<string, readonly [Offer, Machine, Offer]> = {
  "a machine offers its cores and nine tenths of its memory": [
    unset,
    machine,
    { cpu: 8, memoryMib: 9216 },
  ],
  "a container offers nine tenths of its limit": [
    unset,
    { ...machine, memoryLimitBytes: 2 * gibibyte },
    { cpu: 8, memoryMib: 1843 },
  ],
  "a limit beyond what there is limits nothing": [
    unset,
    { ...machine, memoryLimitBytes: 2 ** 63 },
    { cpu: 8, memoryMib: 9216 },
  ],
  "what is set is offered, even in a container": [
    { cpu: 0.5, memoryMib: 700 },
    { ...machine, memoryLimitBytes: gibibyte },
    { cpu: 0.5, memoryMib: 700 },
  ],
};

for (const [name, [settings, has, want]] of Object.entries(cases)) {
  test(name, () => deepEqual(offerOf(settings, has), want));
}

test("labels are read from one setting", () => {
  deepEqual(labelsOf("disk=fast, zone=a,flag"), { disk: "fast", zone: "a", flag: "" });
  deepEqual(labelsOf(""), {});
});

const [big, small] = [
  { uuid: "GPU-0", memoryMib: 81_559 },
  { uuid: "GPU-1", memoryMib: 15_360 },
];
type GpuSettings = Parameters<typeof gpuOfferOf>[0];
const gpuCases: Record<string, readonly [GpuSettings, (typeof big)[], object]> = {
  "no GPU, none set": [
    { gpu: -1, memoryMib: 0 },
    [],
    { gpu: 0, gpuMemoryMib: 0, devices: undefined },
  ],
  "GPUs that nobody can see are offered where that is set": [
    { gpu: 2, memoryMib: 1000 },
    [],
    { gpu: 2, gpuMemoryMib: 2000, devices: undefined },
  ],
  "all are offered, each with what the smallest has": [
    { gpu: -1, memoryMib: 0 },
    [big, small],
    { gpu: 2, gpuMemoryMib: 30_720, devices: ["GPU-0", "GPU-1"] },
  ],
  "the first ones are, where fewer are set": [
    { gpu: 1, memoryMib: 0 },
    [big, small],
    { gpu: 1, gpuMemoryMib: 81_559, devices: ["GPU-0"] },
  ],
  "no more than there are": [
    { gpu: 4, memoryMib: 0 },
    [big],
    { gpu: 1, gpuMemoryMib: 81_559, devices: ["GPU-0"] },
  ],
  "none of those that there are": [
    { gpu: 0, memoryMib: 0 },
    [big],
    { gpu: 0, gpuMemoryMib: 0, devices: [] },
  ],
};
for (const [name, [settings, found, want]] of Object.entries(gpuCases))
  test(name, () => deepEqual(gpuOfferOf(settings, found), want));
