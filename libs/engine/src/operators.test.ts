/** Runs where the native engine is installed. */
import { test } from "node:test";
import { availableEngines, openEngine } from "./open-engine.ts";
import { testOperators } from "./testing-operators.ts";

const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";
const isInstalled = (await availableEngines({ cacheDir })).some(({ name }) => name === "native");
if (isInstalled) testOperators(await openEngine("native", { cacheDir }));
else test("operators of the native engine", { skip: "it is not installed" });
