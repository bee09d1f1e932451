/** What instructions this processor has, as far as they decide how numbers are computed. */
import { readFileSync } from "node:fs";
import { type IsaLevel, isaLevels } from "@coxswain/domain";

/** As Linux names them; none where it cannot say. */
export function processorFlags(): readonly string[] {
  try {
    return flagsOf(readFileSync("/proc/cpuinfo", "utf8"));
  } catch {
    return []; // No Linux: there is only what the processor's model says.
  }
}

/** The flags of the first processor in the text of /proc/cpuinfo. */
export function flagsOf(cpuinfo: string): readonly string[] {
  return /^flags\s*:\s*(.*)$/m.exec(cpuinfo)?.[1]?.split(" ") ?? [];
}

const vectors = /^(sse|ssse|avx|fma|f16c|amx)/;

/** Those of instructions on vectors and matrices, in order of the alphabet. */
export function vectorFlags(flags: readonly string[]): string[] {
  return flags.filter((flag) => vectors.test(flag)).sort();
}

const needed: Readonly<Record<IsaLevel, readonly string[]>> = {
  avx2: ["avx2", "fma"],
  avx512: ["avx512f", "avx512bw", "avx512dq", "avx512vl"],
};

/** The levels that a processor with these flags can be held to. */
export function isaLevelsOf(flags: readonly string[]): IsaLevel[] {
  return isaLevels.filter((level) => needed[level].every((flag) => flags.includes(flag)));
}
