/** submit, jobs, show, scale, suspend, resume, cancel, nodes. */

import { counted } from "@coxswain/domain";
import type { Command } from "commander";
import { type CommonOptions, type Context, connectApi, findJob, show, table } from "../context.ts";
import type { Json } from "../io/api-client.ts";
import { submitFile } from "../io/submit-file.ts";
import { wholeNumber } from "../io/whole-number.ts";
import { pc } from "../render/colours.ts";
import { metricsOf } from "../render/event-line.ts";
import { ago, percent, seconds } from "../render/format.ts";
import { followToEnd } from "./events.ts";

export type Add = (name: string, summary: string, examples: readonly string[]) => Command;

const colours: Readonly<Record<string, (text: string) => string>> = {
  running: pc.green,
  succeeded: pc.green,
  failed: pc.red,
  cancelled: pc.yellow,
  queued: pc.yellow,
};
const coloured = (state: string) => (colours[state] ?? pc.cyan)(state);

export function addJobCommands(add: Add, context: Context): void {
  add("submit <file>", "submit a job file; its program is bundled and uploaded", [
    "cox submit examples/mnist/mlp.yaml --follow",
    "cox submit job.yaml --set spec.epochs=1 --set metadata.name=try",
    "cox submit job.yaml --from mnist-mlp@500",
  ])
    .option("--follow", "follow the job to its end; Ctrl-C leaves it running")
    .option(
      "--set <path=value>",
      "change a field of the file (repeatable)",
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .option("--from <job@step>", "begin at that checkpoint; without @STEP at the newest one")
    .option("--key <key>", "Idempotency-Key: the same key gives the same job")
    .action(
      async (
        file: string,
        options: CommonOptions & { follow?: boolean; set: string[]; from?: string; key?: string },
      ) => {
        const api = await connectApi(context, options);
        const job = await submitFile(api, file, {
          settings: options.set,
          ...(options.from === undefined ? {} : { from: options.from }),
          ...(options.key === undefined ? {} : { idempotencyKey: options.key }),
        });
        show(context, options, job, () => `${pc.bold(job.id)} submitted`);
        if (options.follow) await followToEnd(context, api, job.id, options);
      },
    );
  add("jobs", "list jobs, newest first", ["cox jobs", "cox jobs --state running,queued --json"])
    .option("--state <states>", "only these states, separated by commas")
    .option("--limit <n>", "at most so many", "50")
    .action(async (options: CommonOptions & { state?: string; limit: string }) => {
      const api = await connectApi(context, options);
      const list = await api.get(
        `/v1/jobs?limit=${encodeURIComponent(options.limit)}${options.state === undefined ? "" : `&state=${encodeURIComponent(options.state)}`}`,
      );
      show(context, options, list, () => jobTable(list.items, context.nowMs()));
    });
  add("show <job>", "one job: conditions, workers, progress, why it waits", [
    "cox show mnist-mlp",
  ]).action(async (given: string, options: CommonOptions) => {
    const job = await findJob(await connectApi(context, options), given);
    show(context, options, job, () => jobText(job, context.nowMs()));
  });
  add("scale <job>", "ask for another number of workers; the weights stay the same bits", [
    "cox scale mnist-mlp 3",
  ])
    .argument("<workers>", "how many", wholeNumber(1))
    .action(async (given: string, workers: number, options: CommonOptions) => {
      const api = await connectApi(context, options);
      const { id } = await findJob(api, given);
      const job = await api.send("PATCH", `/v1/jobs/${id}/workers`, { workers });
      const text = `${id}: ${counted(workers, "worker")} wanted, ${job.workers.now} train now`;
      show(context, options, job, () => text);
    });
  for (const [verb, summary] of [
    ["suspend", "give up the workers after a checkpoint"],
    ["resume", "go on with a suspended job"],
    ["cancel", "end a job"],
  ] as const) {
    add(`${verb} <job>`, summary, [`cox ${verb} mnist-mlp`]).action(
      async (given: string, options: CommonOptions) => {
        const api = await connectApi(context, options);
        const { id } = await findJob(api, given);
        const job = await api.send("POST", `/v1/jobs/${id}/${verb}`);
        show(context, options, job, () => `${id} is ${coloured(job.state)}`);
      },
    );
  }
  add("nodes", "machines that can hold workers", ["cox nodes"]).action(
    async (options: CommonOptions) => {
      const list = await (await connectApi(context, options)).get("/v1/nodes");
      show(context, options, list, () =>
        table(
          ["NODE", "HOST", "CPU", "MEMORY", "GPU", "DISK", "NETWORK", "WORKERS", "ENGINES"],
          list.items.map((n: Json) => [
            n.nodeId,
            n.host,
            n.capacity.cpu,
            `${n.capacity.memoryMib} MiB`,
            gpuText(n),
            traffic(n.capacity.diskMibps),
            traffic(n.capacity.networkMibps),
            n.workers.length,
            [...new Set(n.engines.map((e: Json) => e.name))].join(", "),
          ]),
        ),
      );
    },
  );
}

/** `2 x Tesla T4`, or `2 x 16384 MiB` where no driver has told the model. */
function gpuText({ capacity, gpus = [] }: Json): string {
  const models = [...new Set(gpus.map(({ model }: Json) => model))].join(", ");
  const { gpu, gpuMemoryMib = 0 } = capacity;
  if (models !== "") return `${gpu} x ${models}`;
  return gpu > 0 && gpuMemoryMib > 0 ? `${gpu} x ${Math.round(gpuMemoryMib / gpu)} MiB` : `${gpu}`;
}

const traffic = (mibps = 0) => (mibps > 0 ? `${mibps} MiB/s` : "-");

function jobTable(jobs: readonly Json[], nowMs: number): string {
  if (jobs.length === 0) return "no jobs; submit one with `cox submit FILE`";
  const head = ["JOB", "STATE", "WORKERS", "STEP", "DONE", "SPEED", "ETA", "AGE"];
  return table(
    head,
    jobs.map((job) => [
      job.id,
      coloured(job.state),
      `${job.workers.now}/${job.workers.wanted}`,
      job.step,
      percent(job.step, job.steps),
      `${Math.round(job.samplesPerSecond)}/s`,
      seconds(job.etaSeconds),
      ago(job.submittedAt, nowMs),
    ]),
  );
}

const standbyText = ({ standby = 0, standbyWanted = 0 }: Json) =>
  standby + standbyWanted > 0 ? `, ${standby} of ${standbyWanted} stand by` : "";

function jobText(job: Json, nowMs: number): string {
  const lines = [
    `${pc.bold(job.id)}  ${coloured(job.state)}${job.reason === undefined ? "" : `  ${job.reason}: ${job.message}`}`,
    `  submitted ${ago(job.submittedAt, nowMs)} ago, priority ${job.priority}, queue ${job.queue}`,
    `  step ${job.step} of ${job.steps ?? "?"} (${percent(job.step, job.steps)}), epoch ${job.epoch.toFixed(2)}, ${Math.round(job.samplesPerSecond)} samples/s, ETA ${seconds(job.etaSeconds)}`,
    `  training  ${metricsOf(job.metrics) || "-"}`,
    `  held out  ${job.evaluation === null ? "-" : `${metricsOf(job.evaluation.metrics)} (epoch ${job.evaluation.epoch})`}`,
    ...(job.spec.from === undefined
      ? []
      : [`  began at  step ${job.spec.from.step} of ${job.spec.from.job}`]),
    `  engine    ${job.engine?.identity ?? "-"}`,
    `  exchange  ${job.spec.exchange}${job.spec.exchange === "fast" ? ": the weights' last bits depend on who trains" : ""}`,
    `  workers   ${job.workers.now} train, ${job.workers.wanted} wanted (${job.workers.min} to ${job.workers.max})${standbyText(job.workers)}, generation ${job.generation}`,
  ];
  if (job.compiled?.reason)
    lines.push(pc.yellow(`  runs operator by operator, since ${job.compiled.reason}`));
  const error = job.error ?? job.firstError;
  if (error)
    lines.push(
      pc.red(
        `  first error  ${error.code}: ${error.message}${error.workerId ? ` (worker ${error.workerId})` : ""}`,
      ),
    );
  if (job.weightsSha256) lines.push(`  weights   ${job.weightsSha256}`);
  const workers = [
    ...job.members.map((m: Json) => [m.workerId, m.nodeId, `${m.shardFrom} to ${m.shardTo - 1}`]),
    ...(job.standby ?? []).map((w: Json) => [w.workerId, w.nodeId, "stands by"]),
  ];
  if (workers.length > 0) lines.push("", table(["WORKER", "NODE", "SHARDS"], workers));
  lines.push(
    "",
    table(
      ["CONDITION", "STATUS", "REASON", "MESSAGE"],
      job.conditions.map((c: Json) => [c.type, c.status, c.reason, c.message]),
    ),
  );
  return lines.join("\n");
}
