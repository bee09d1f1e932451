import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { engineText } from "@coxswain/domain";
import { availableEngines } from "@coxswain/engine";
import { differencesOf, hashesOf, keyOf, readGolden } from "./weights.ts";

const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";
const golden = await readGolden();

const engines = await availableEngines({ cacheDir });
for (const engine of engines) {
  const text = keyOf(engine, engines);
  const known = golden[text];
  const skip =
    known === undefined ? `the identity is new: "${text}"; npm run golden adds it` : false;
  test(`${engineText(engine)}: every model and optimizer ends at the known weights`, { skip }, async () => {
    deepEqual(differencesOf(known!, await hashesOf(engine, cacheDir)), []);
  });
}

test("other bits, and what is known of one side only, are named", () => {
  deepEqual(differencesOf({ a: "1", b: "2", c: "3" }, { a: "1", b: "9", d: "4" }), [
    "b: 9, known is 2",
    "c: nothing, known is 3",
    "d: 4, known is nothing",
  ]);
});
