import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { flagsOf, isaLevelsOf, vectorFlags } from "./processor.ts";

const cpuinfo = (flags: string) =>
  `processor\t: 0\nmodel name\t: A\nflags\t\t: ${flags}\nbugs\t\t: spectre\n\nprocessor\t: 1\nflags\t\t: other\n`;

const cases = {
  "an old processor": ["fpu sse2 avx", []],
  "one with AVX2": ["fpu sse2 avx avx2 fma", ["avx2"]],
  "one with AVX2 and no FMA": ["fpu sse2 avx avx2", []],
  "one with AVX-512": ["avx avx2 fma avx512f avx512bw avx512dq avx512vl", ["avx2", "avx512"]],
  "an early one with AVX-512": ["avx avx2 fma avx512f avx512cd", ["avx2"]],
} as const;
for (const [name, [flags, levels]] of Object.entries(cases))
  test(`${name} can be held to ${levels.join(" and ") || "nothing"}`, () => {
    deepEqual(isaLevelsOf(flagsOf(cpuinfo(flags))), levels);
  });

test("of a processor without flags nothing is known", () => {
  deepEqual(flagsOf("processor : 0\nFeatures : fp asimd\n"), []);
});

test("only what computes with vectors counts", () => {
  deepEqual(vectorFlags(["vme", "avx512f", "sse4_1", "amx_tile", "md_clear", "fma"]), [
    ...["amx_tile", "avx512f", "fma", "sse4_1"],
  ]);
});
