/** Writes the TrainingJob's CustomResourceDefinition from its schema: `npm run definition`. */
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { trainingJobDefinition } from "@coxswain/kube";
import { stringify } from "yaml";

const target = resolve(import.meta.dirname, "../k8s/base/training-jobs.yaml");
const head = "# Made of libs/domain's schema by `npm run definition`.\n";
writeFileSync(
  target,
  head + stringify(trainingJobDefinition(), { lineWidth: 0, aliasDuplicateObjects: false }),
);
