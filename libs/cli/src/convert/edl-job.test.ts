import { deepEqual, throws } from "node:assert/strict";
import { test } from "node:test";
import { parse } from "yaml";
import { convertEdlJob } from "./edl-job.ts";

/** As the original's examples are written. */
const example = parse(`
apiVersion: paddlepaddle.org/v1
kind: TrainingJob
metadata: { name: Recognize_Digits, namespace: team }
spec:
  image: paddlepaddle/paddlecloud-job
  port: 7164
  ports_num: 1
  fault_tolerant: true
  passes: 10
  trainer:
    entrypoint: "python train.py"
    workspace: "/data"
    min-instance: 2
    max-instance: 12
    resources:
      limits: { cpu: "500m", memory: "800Mi", alpha.kubernetes.io/nvidia-gpu: 1 }
      requests: { cpu: "200m", memory: "600Mi" }
  pserver: { min-instance: 2, max-instance: 2 }
  queue: gold
`);
const program = "./mnist.ts";
const changed = (spec: object) => ({ ...example, spec: { ...example.spec, ...spec } });

test("each field becomes one of ours, or is named with the reason why not", () => {
  const { job, mapped, dropped } = convertEdlJob(example, { program });
  deepEqual(job, {
    apiVersion: "coxswain.dev/v1",
    kind: "TrainingJob",
    metadata: { name: "recognize-digits" },
    spec: {
      ...{ program, epochs: 10, batchSize: 64, workers: { min: 2, max: 12 } },
      resources: { cpu: 0.5, memory: 800, gpu: 1 },
    },
  });
  deepEqual(
    mapped.map(({ field, word }) => `${field} -> ${word}`),
    [
      "spec.trainer.min-instance -> spec.workers.min",
      "spec.trainer.max-instance -> spec.workers.max",
      "spec.fault_tolerant -> every job is; it judged min and max",
      "spec.passes -> spec.epochs",
      "spec.trainer.resources -> spec.resources",
      "metadata.name -> metadata.name",
    ],
  );
  deepEqual(
    dropped.map(({ field }) => field),
    [
      ...["metadata.namespace", "spec.image", "spec.port", "spec.ports_num"],
      ...["spec.trainer.entrypoint", "spec.trainer.workspace", "spec.pserver", "spec.queue"],
    ],
  );
  deepEqual(dropped.at(-1), { field: "spec.queue", word: "unknown here" });
});

const refused: Record<string, readonly [unknown, RegExp]> = {
  "another kind": [{ ...example, kind: "Job" }, /no TrainingJob of paddlepaddle/],
  "a range without fault tolerance": [changed({ fault_tolerant: false }), /the original's rule/],
  "no trainers": [changed({ trainer: {} }), /min-instance is no positive number/],
  "more at least than at most": [
    changed({ trainer: { "min-instance": 3, "max-instance": 2 } }),
    /less than min-instance/,
  ],
};
for (const [name, [document, why]] of Object.entries(refused))
  test(`${name} is refused`, () => throws(() => convertEdlJob(document, { program }), why));
