/** The live display of a training: a block that is painted over on a terminal, plain lines elsewhere. */

import type { FollowedEvent } from "@coxswain/cli";
import { eventLine, metric, pc } from "@coxswain/cli";
import cliProgress from "cli-progress";

export interface Display {
  event(event: FollowedEvent): void;
  note(sentence: string): void;
  stop(): void;
}

const told = new Set([
  "job.placed",
  "job.queued",
  "worker.lost",
  "training.generation-formed",
  "training.epoch-finished",
  "checkpoint.committed",
  "job.succeeded",
  "job.failed",
  "model.exported",
]);

export function openDisplay(isTerminal: boolean): Display {
  return isTerminal ? terminalDisplay() : plainDisplay();
}

function plainDisplay(): Display {
  let lastMs = -Infinity;
  return {
    event: (event) => {
      const isProgress = event.name === "training.progressed";
      if (isProgress && performance.now() - lastMs < 1000) return;
      if (isProgress) lastMs = performance.now();
      if (isProgress || told.has(event.name)) console.log(eventLine(event));
    },
    note: (sentence) => console.log(sentence),
    stop: () => undefined,
  };
}

function terminalDisplay(): Display {
  const format = `  ${pc.cyan("{bar}")} {percentage}% | step {value}/{total} | {speed} samples/s | loss {loss} | accuracy {accuracy} | {workers} workers | generation {generation}`;
  const bars = new cliProgress.MultiBar(
    {
      format,
      hideCursor: true,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      barsize: 24,
      clearOnComplete: false,
    },
    cliProgress.Presets.shades_classic,
  );
  let bar: cliProgress.SingleBar | undefined;
  let generation = 0;
  const line = (text: string) => bars.log(`${text}\n`);
  return {
    event: (event) => {
      if (event.name === "training.generation-formed") generation = event.payload.generation;
      if (event.name === "training.progressed") {
        const { stepTo, steps, samplesPerSecond, metrics, workers } = event.payload;
        const values = {
          speed: Math.round(samplesPerSecond),
          loss: metric(metrics.loss ?? 0),
          accuracy: metric(metrics.accuracy ?? 0),
          workers,
          generation,
        };
        bar ??= bars.create(steps, 0, values);
        bar.update(stepTo, values);
      } else if (told.has(event.name)) line(eventLine(event));
    },
    note: line,
    stop: () => bars.stop(),
  };
}
