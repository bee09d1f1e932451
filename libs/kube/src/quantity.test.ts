import { equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { parseQuantity } from "./quantity.ts";

const cases: Record<string, number> = {
  "0": 0,
  "2": 2,
  "250m": 0.25,
  "1.5Gi": 1.5 * 2 ** 30,
  "128974848": 128_974_848,
  "129e6": 129e6,
  "1E": 1e18,
  "123Mi": 123 * 2 ** 20,
  "5k": 5000,
};
for (const [text, want] of Object.entries(cases))
  test(`${text} is ${want}`, () => equal(parseQuantity(text), want));

for (const text of ["", "1 Gi", "Gi", "1Xi", "one"])
  test(`"${text}" is none`, () => throws(() => parseQuantity(text), /no quantity/));
