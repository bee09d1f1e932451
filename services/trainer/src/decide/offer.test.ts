import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { labelsOf, type Machine, type Offer, offerOf } from "./offer.ts";

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
