import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { decideExport } from "./decide-export.ts";
import { decideOrphans, decideRetention } from "./decide-retention.ts";

/** "20" or "20f" for a final one, "20g3" for generation 3. */
const checkpoint = (text: string) => ({
  step: Number.parseInt(text, 10),
  generation: Number(/g(\d+)/.exec(text)?.[1] ?? 1),
  final: text.endsWith("f"),
});

for (const [name, [all, keep, want]] of Object.entries({
  "the newest are kept": [["10", "20", "30"], 2, [10]],
  "nothing goes while there is room": [["10", "20"], 2, []],
  "the final one is always kept": [["10", "20f", "30"], 1, [10]],
  "the order of commits does not matter": [["30", "10", "20"], 1, [20, 10]],
} as Record<string, [string[], number, number[]]>)) {
  test(name, () =>
    deepEqual(
      decideRetention(all.map(checkpoint), keep).map(({ step }) => step),
      want,
    ),
  );
}

const file = (step: number, name: string) =>
  `jobs/j/checkpoints/${String(step).padStart(10, "0")}/${name}`;
const folder = (step: number) => file(step, "").slice(0, -1);

interface OrphanCase {
  readonly files: string[];
  readonly kept: string[];
  readonly pruned?: string[];
  readonly named?: number[];
  readonly held?: string[];
  readonly borrowed?: string[];
  readonly want: string[];
}

const orphanCases: Record<string, OrphanCase> = {
  "nothing is committed: parts may be on their way": {
    files: [file(10, "g1-0-of-2.bin")],
    kept: [],
    want: [],
  },
  "an older step that was never whole goes, folder and all": {
    files: [file(10, "g1-0-of-2.bin"), file(20, "g1-0-of-1.bin"), file(20, "manifest-a1.json")],
    kept: ["20"],
    want: [folder(10)],
  },
  "what a pruned checkpoint left goes": {
    files: [file(10, "manifest-a1.json"), file(10, "g1-0-of-1.bin"), file(20, "manifest-a1.json")],
    kept: ["20"],
    want: [folder(10)],
  },
  "later steps are being written": {
    files: [file(30, "g1-0-of-2.bin")],
    kept: ["20"],
    want: [],
  },
  "a later generation, restored from before, is being written": {
    files: [file(10, "g1-0-of-1.bin"), file(10, "g2-0-of-1.bin")],
    kept: ["20"],
    want: [file(10, "g1-0-of-1.bin")],
  },
  "an older generation's parts beside a kept checkpoint go": {
    files: [file(20, "g1-0-of-1.bin"), file(20, "g2-0-of-1.bin"), file(20, "manifest-a1.json")],
    kept: ["20g2"],
    want: [file(20, "g1-0-of-1.bin")],
  },
  "the newest generation counts, not the highest step": {
    files: [file(15, "g2-0-of-2.bin"), file(20, "manifest-a1.json"), file(30, "manifest-a1.json")],
    kept: ["30", "20g2"],
    want: [folder(15)],
  },
  "what is pruned goes, though the newest generation is older": {
    files: [file(20, "g2-0-of-1.bin"), file(20, "g3-0-of-1.bin"), file(30, "manifest-a1.json")],
    kept: ["30"],
    pruned: ["20g2"],
    want: [file(20, "g2-0-of-1.bin")],
  },
  "a part that a kept checkpoint has borrowed stays": {
    files: [file(10, "manifest-a1.json"), file(10, "g1-0-of-2.bin"), file(10, "g1-1-of-2.bin")],
    kept: ["30"],
    pruned: ["10"],
    borrowed: [file(10, "g1-1-of-2.bin")],
    want: [file(10, "manifest-a1.json"), file(10, "g1-0-of-2.bin")],
  },
  "a part that somebody has told of stays until there is a verdict": {
    files: [file(10, "g1-0-of-1.bin"), file(20, "manifest-a1.json")],
    kept: ["20"],
    held: [file(10, "g1-0-of-1.bin")],
    want: [],
  },
  "a checkpoint that another job names stays": {
    files: [file(10, "g1-0-of-1.bin"), file(10, "manifest-a1.json"), file(20, "manifest-a1.json")],
    kept: ["20"],
    pruned: ["10"],
    named: [10],
    want: [],
  },
  "files that are not ours stay": {
    files: ["jobs/j/checkpoints/notes.txt", file(10, "README")],
    kept: ["20"],
    want: [],
  },
};

for (const [name, one] of Object.entries(orphanCases)) {
  const { files, kept, pruned = [], named = [], held = [], borrowed, want } = one;
  test(name, () => {
    const facts = {
      kept: kept.map((text) => ({ ...checkpoint(text), borrowed })),
      pruned: pruned.map(checkpoint),
      named: new Set(named),
      held,
    };
    deepEqual(decideOrphans(files, facts), want);
  });
}

test("a model is exported once the end and the final checkpoint are both there", () => {
  const final = checkpoint("20f") as never;
  const state = { kind: "finishing" } as const;
  const finished = { step: 20, weightsSha256: "", metrics: {} };
  const blank = {
    state,
    finished: undefined,
    checkpoints: [],
    model: undefined,
    modelExportError: undefined,
    unjudged: [],
    checkpointError: undefined,
  };
  const kind = (job: object) => decideExport({ ...blank, ...job }).kind;
  deepEqual(
    [
      kind({}),
      kind({ finished }),
      kind({ checkpoints: [final] }),
      kind({ finished, checkpoints: [final] }),
      kind({ finished, checkpoints: [final], model: {} }),
      kind({ finished, checkpoints: [final], modelExportError: "no" }),
      kind({ finished, checkpoints: [final], state: { kind: "cancelled" } }),
    ],
    ["wait", "wait", "wait", "export", "done", "done", "done"],
  );
});
