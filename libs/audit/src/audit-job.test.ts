import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import type { EventName, StoredEvent } from "@coxswain/events";
import fc from "fast-check";
import { auditJob } from "./audit-job.ts";
import type { ViolationKind } from "./report.ts";

const hash = (digit: string) => digit.repeat(64);
const spec = { seed: 3, batchSize: 8, shards: 4 };
const samples = 20;
const steps = 10;

type Said = readonly [EventName, object];

const submitted: Said = ["job.submitted", { job: { metadata: { name: "digits" }, spec } }];

/** `shards` such as "0-2 2-4": one member each. */
const formed = (
  generation: number,
  fromStep: number,
  shards: string,
  cause = "loss",
  checkpointStep?: number,
): Said => [
  "training.generation-formed",
  {
    generation,
    fromStep,
    cause,
    ...(checkpointStep === undefined ? {} : { checkpointStep }),
    members: shards.split(" ").map((range, index) => {
      const [shardFrom, shardTo] = range.split("-").map(Number);
      return { workerId: `w${index}`, nodeId: "n1", shardFrom, shardTo };
    }),
  },
];
const did = (generation: number, stepFrom: number, stepTo: number): Said => [
  "training.progressed",
  { generation, stepFrom, stepTo, steps, workers: 1, metrics: {} },
];
const saved = (step: number, digit: string, final = false, generation = 1): Said => [
  "checkpoint.committed",
  { step, generation, weightsSha256: hash(digit), final },
];
const finished = (digit: string, step = steps): Said => [
  "training.finished",
  { generation: 1, step, weightsSha256: hash(digit), metrics: {} },
];

const logOf = (said: readonly Said[], first = submitted) =>
  [first, ...said].map(
    ([name, payload], index) =>
      ({ name, payload, jobId: "digits-1", sequence: index + 1 }) as unknown as StoredEvent,
  );

const elastic = [
  formed(1, 0, "0-4", "start"),
  did(1, 0, 3),
  formed(2, 3, "0-2 2-4", "join"),
  did(2, 3, 6),
  saved(5, "b"),
  formed(3, 6, "0-4"),
  did(3, 6, 10),
  saved(10, "a", true),
  finished("a"),
];

test("a job that begins at another's checkpoint: its steps and that one's are each there once", () => {
  const begun: Said = [
    "job.submitted",
    { job: { spec: { ...spec, from: { job: "a", step: 4 } } } },
  ];
  const right = [
    formed(1, 4, "0-4", "restore", 4),
    did(1, 4, steps),
    saved(steps, "a", true),
    finished("a"),
  ];
  const report = auditJob(logOf(right, begun), { samples });
  deepEqual([report.violations, report.samplesProof], [[], "counted"]);
  deepEqual([report.stepsCommitted, report.stepsInherited, report.stepsRedone], [10, 4, 0]);
  const anew = auditJob(logOf([formed(1, 0, "0-4", "start"), ...right.slice(1)], begun), {
    samples,
  });
  deepEqual(anew.violations.length > 0, true);
  const notTold = auditJob(logOf(right), { samples });
  ok(notTold.violations.some(({ kind }) => kind === "restore-wrong"));
});

test("a job whose members changed twice is whole", () => {
  const report = auditJob(logOf(elastic), { samples });
  deepEqual(
    { ...report, generations: report.generations.map(({ members, steps }) => [members, steps]) },
    {
      jobId: "digits-1",
      ok: true,
      isFinished: true,
      stepsCommitted: 10,
      stepsTwice: 0,
      stepsSkipped: 0,
      stepsRedone: 0,
      stepsInherited: 0,
      samplesTwice: 0,
      samplesSkipped: 0,
      samplesProof: "counted",
      samplesPerEpoch: samples,
      epochs: 4,
      weightsSha256: hash("a"),
      generations: [
        [1, 3],
        [2, 3],
        [1, 4],
      ],
      batches: [],
      violations: [],
    },
  );
});

test("steps that a restore did again count once, and are told apart", () => {
  const report = auditJob(
    logOf([
      formed(1, 0, "0-4", "start"),
      did(1, 0, 4),
      saved(4, "c"),
      did(1, 4, 7),
      formed(2, 4, "0-4", "restore", 4),
      did(2, 4, 10),
      saved(10, "a", true),
      finished("a"),
    ]),
    { samples },
  );
  deepEqual(
    [report.ok, report.stepsCommitted, report.stepsTwice, report.stepsRedone, report.samplesTwice],
    [true, 10, 0, 3, 0],
  );
});

test("late commits after a restore are no violation, and a later restore may use them", () => {
  const report = auditJob(
    logOf([
      formed(1, 0, "0-4", "start"),
      did(1, 0, 6),
      saved(2, "a"),
      formed(2, 2, "0-4", "restore", 2),
      saved(6, "b"),
      ["checkpoint.pruned", { steps: [2] }],
      did(2, 2, 4),
      formed(3, 6, "0-4", "restore", 6),
      did(3, 6, 10),
      saved(10, "c", true, 3),
      finished("c"),
    ]),
    { samples },
  );
  deepEqual(report.violations, []);
  deepEqual([report.stepsCommitted, report.stepsRedone], [10, 2]);
  deepEqual(
    report.generations.map(({ steps }) => steps),
    [6, 0, 4],
  );
});

test("a restore from what a generation wrote that did no step itself goes on from that one's line", () => {
  const report = auditJob(
    logOf([
      formed(1, 0, "0-4", "start"),
      did(1, 0, 10),
      formed(2, 10, "0-4"),
      formed(3, 0, "0-4", "restore"),
      saved(10, "a", true, 2),
      did(3, 0, 4),
      formed(4, 10, "0-4", "restore", 10),
      finished("a"),
    ]),
    { samples },
  );
  deepEqual(report.violations, []);
  deepEqual([report.stepsCommitted, report.stepsRedone], [10, 4]);
});

test("a step that its only witness took along is computed again without harm", () => {
  const log = [formed(1, 0, "0-2 2-4", "start"), did(1, 0, 6), formed(2, 5, "0-4"), did(2, 6, 8)];
  const report = auditJob(logOf(log), { samples });
  deepEqual([report.ok, report.isFinished, report.stepsCommitted], [true, false, 8]);
});

test("the number of samples is taken from the checkpoints' facts", () => {
  const written: Said = ["checkpoint.written", { manifest: { samplesTrain: samples } }];
  equal(auditJob(logOf([formed(1, 0, "0-4", "start"), did(1, 0, 5), written])).epochs, 2);
});

test("too many samples to count are proved by the bijection", () => {
  const report = auditJob(logOf(elastic), { samples, positionsMax: 10 });
  deepEqual([report.ok, report.samplesProof], [true, "derived"]);
});

interface Case {
  readonly log: readonly Said[];
  readonly want: ViolationKind;
  /** Samples used twice, left out. */
  readonly samples?: readonly [number, number];
}
const start = formed(1, 0, "0-4", "start");
test("fast: a later generation's step has bits of its own; within one it has not", () => {
  const fast: Said = [
    "job.submitted",
    { job: { metadata: { name: "digits" }, spec: { ...spec, exchange: "fast" } } },
  ];
  const start = [formed(1, 0, "0-4", "start"), did(1, 0, 4), saved(2, "a"), saved(4, "b")];
  const again = [formed(2, 2, "0-4", "restore", 2), did(2, 2, 10), saved(4, "c", false, 2)];
  const end = [saved(10, "d", true, 2), finished("d")];
  deepEqual(auditJob(logOf([...start, ...again, ...end], fast), { samples }).violations, []);
  const kinds = (said: readonly Said[]) =>
    auditJob(logOf(said, fast)).violations.map(({ kind }) => kind);
  deepEqual(kinds([...start, ...again, saved(4, "e", false, 2)]), ["checkpoint-differs"]);
  deepEqual(kinds([...start, ...again, end[0]!, finished("e")]), [
    "checkpoint-differs",
    "hash-differs",
  ]);
});

const cases: Record<string, Case> = {
  "a gap between steps": {
    log: [start, did(1, 0, 4), did(1, 6, 10)],
    want: "steps-skipped",
    samples: [0, 16],
  },
  "a step that was committed twice": {
    log: [start, did(1, 0, 6), did(1, 5, 10)],
    want: "steps-twice",
    samples: [8, 0],
  },
  "a shard that nobody computes": {
    log: [formed(1, 0, "0-2 3-4", "start"), did(1, 0, 10)],
    want: "shards-wrong",
    samples: [0, 20],
  },
  "a shard that two compute": {
    log: [formed(1, 0, "0-3 2-4", "start"), did(1, 0, 10)],
    want: "shards-wrong",
    samples: [20, 0],
  },
  "a shard that does not exist": { log: [formed(1, 0, "0-4 4-5", "start")], want: "shards-wrong" },
  "a generation that goes back": {
    log: [formed(2, 0, "0-4", "start"), did(2, 0, 4), formed(1, 4, "0-4"), did(1, 4, 5)],
    want: "generation-back",
  },
  "a generation that says nothing of the steps before it": {
    log: [start, did(1, 0, 4), formed(2, 6, "0-4")],
    want: "generation-ahead",
  },
  "a generation that undoes steps without a restore": {
    log: [start, did(1, 0, 4), formed(2, 2, "0-4")],
    want: "steps-twice",
  },
  "steps of a generation that is over": {
    log: [start, did(1, 0, 4), formed(2, 4, "0-4"), did(1, 4, 5)],
    want: "unknown-generation",
  },
  "steps of no generation": { log: [did(1, 0, 4)], want: "unknown-generation" },
  "a restore from a checkpoint that was never committed": {
    log: [start, did(1, 0, 4), formed(2, 2, "0-4", "restore", 2)],
    want: "restore-wrong",
  },
  "a restore to another step than its checkpoint's": {
    log: [start, did(1, 0, 4), saved(2, "a"), formed(2, 3, "0-4", "restore", 2)],
    want: "restore-wrong",
  },
  "a checkpoint of steps that nobody told": {
    log: [start, did(1, 0, 4), saved(5, "a")],
    want: "checkpoint-ahead",
  },
  "the same step with other weights after a restore": {
    log: [
      start,
      did(1, 0, 4),
      saved(2, "a"),
      saved(4, "b"),
      formed(2, 2, "0-4", "restore", 2),
      did(2, 2, 4),
      saved(4, "c"),
    ],
    want: "checkpoint-differs",
  },
  "an end before the last step": {
    log: [start, did(1, 0, 9), saved(9, "a", true), finished("a", 9)],
    want: "finish-wrong",
    samples: [0, 8],
  },
  "an end without a final checkpoint": {
    log: [start, did(1, 0, 10), finished("a")],
    want: "finish-wrong",
  },
  "an end with other weights than the final checkpoint's": {
    log: [start, did(1, 0, 10), saved(10, "a", true), finished("b")],
    want: "hash-differs",
  },
  "an exported model with other weights": {
    log: [
      start,
      did(1, 0, 10),
      saved(10, "a", true),
      finished("a"),
      ["model.exported", { step: 10, weightsSha256: hash("d") }],
    ],
    want: "checkpoint-differs",
  },
  "a job that changes its number of steps": {
    log: [start, did(1, 0, 4), ["training.progressed", { ...did(1, 4, 5)[1], steps: 11 }]],
    want: "steps-differ",
  },
};

for (const [name, { log, want, samples: count }] of Object.entries(cases)) {
  test(`finds ${name}`, () => {
    const counted = auditJob(logOf(log), { samples });
    const derived = auditJob(logOf(log));
    for (const report of [counted, derived]) {
      equal(report.ok, false);
      ok(
        report.violations.some(({ kind }) => kind === want),
        JSON.stringify(report.violations),
      );
      if (count !== undefined) deepEqual([report.samplesTwice, report.samplesSkipped], count);
    }
  });
}

test("an empty log is no proof", () => {
  equal(auditJob([]).violations[0]?.kind, "no-job");
});

test("whatever one range is dropped from or doubled in a whole log, the audit finds it", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 3, maxLength: 8 }),
      fc.nat(),
      fc.boolean(),
      (lengths, at, isDropped) => {
        let step = 0;
        const ranges = lengths.map((length) => {
          step += length;
          return did(1, step - length, step);
        });
        const end: Said[] = [did(1, step, step + 1)];
        ok(auditJob(logOf([start, ...ranges, ...end]), { samples }).ok);
        const index = at % ranges.length;
        const broken = ranges.flatMap((range, i) =>
          i !== index ? [range] : isDropped ? [] : [range, range],
        );
        const report = auditJob(logOf([start, ...broken, ...end]), { samples });
        const { stepFrom, stepTo } = ranges[index]![1] as { stepFrom: number; stepTo: number };
        deepEqual(
          [report.ok, report.stepsSkipped, report.stepsTwice, report.samplesSkipped],
          [
            false,
            isDropped ? stepTo - stepFrom : 0,
            isDropped ? 0 : stepTo - stepFrom,
            isDropped ? (stepTo - stepFrom) * spec.batchSize : 0,
          ],
        );
      },
    ),
    { numRuns: 50 },
  );
});

const withBatches = (said: Said, ...batches: readonly (readonly [number, number])[]): Said => [
  said[0],
  {
    ...said[1],
    batches: batches.map(([fromStep, batchSize], index) => ({
      ...{ fromStep, batchSize, learningRateFactor: 1 },
      decision: index + 1,
    })),
  },
];

test("a batch that grows: updates of several steps, each sample once; the last update may be done again", () => {
  const log = [
    formed(1, 0, "0-4", "start"),
    did(1, 0, 3),
    withBatches(formed(2, 3, "0-4", "batch"), [3, 24]),
    did(2, 3, 9),
    withBatches(formed(3, 6, "0-2 2-4"), [3, 24]),
    did(3, 9, 10),
  ];
  const report = auditJob(logOf(log), { samples });
  deepEqual(report.violations, []);
  deepEqual([report.stepsCommitted, report.samplesTwice, report.samplesSkipped], [10, 0, 0]);
  deepEqual(
    report.batches.map(({ fromStep, batchSize }) => [fromStep, batchSize]),
    [[3, 24]],
  );
});

const grown = [
  formed(1, 0, "0-4", "start"),
  did(1, 0, 3),
  withBatches(formed(2, 3, "0-4", "batch"), [3, 24]),
  did(2, 3, 9),
];
const wrongBatches: Record<string, [readonly Said[], ViolationKind]> = {
  "an update of which a part is told": [[...grown.slice(0, 3), did(2, 3, 5)], "batches-wrong"],
  "batches that were others when they were in force": [
    [...grown, withBatches(formed(3, 9, "0-4"), [3, 16])],
    "batches-wrong",
  ],
  "a batch that is no multiple of the job's": [
    [...grown, withBatches(formed(3, 9, "0-4"), [3, 24], [9, 12])],
    "batches-wrong",
  ],
  "two updates undone without a restore": [
    [...grown, withBatches(formed(3, 3, "0-4"), [3, 24])],
    "steps-twice",
  ],
};
for (const [name, [log, want]] of Object.entries(wrongBatches))
  test(name, () =>
    deepEqual(
      auditJob(logOf(log), { samples }).violations.map(({ kind }) => kind),
      [want],
    ),
  );
