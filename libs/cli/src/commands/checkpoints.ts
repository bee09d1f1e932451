/** checkpoints: list, verify, export. */
import { resolve } from "node:path";
import { AppError } from "@coxswain/domain";
import { type CommonOptions, type Context, connectApi, findJob, show, table } from "../context.ts";
import type { ApiClient, Json } from "../io/api-client.ts";
import { exportCheckpoint } from "../io/export-checkpoint.ts";
import { pc } from "../render/colours.ts";
import { ago, bytes } from "../render/format.ts";
import type { Add } from "./jobs.ts";

interface CheckpointOptions extends CommonOptions {
  readonly verify?: boolean;
  readonly export?: string;
  readonly output?: string;
}

/** Reading a checkpoint takes as long as it takes; the API's own limit. */
const verifyTimeoutMs = 3_600_000;

export function addCheckpointCommands(add: Add, context: Context): void {
  add("checkpoints <job>", "committed checkpoints, oldest first; verify or export them", [
    "cox checkpoints mnist-mlp",
    "cox checkpoints mnist-mlp --verify",
    "cox checkpoints mnist-mlp --export 500 -o step-500",
  ])
    .option("--verify", "read each one whole and compare every hash; 1 when one is damaged")
    .option("--export <step>", "download one as safetensors and a manifest, verified")
    .option("-o, --output <dir>", "folder for --export")
    .action(async (given: string, options: CheckpointOptions) => {
      const api = await connectApi(context, options);
      const { id } = await findJob(api, given);
      const { items } = await api.get(`/v1/jobs/${id}/checkpoints`);
      if (options.export !== undefined) await exportOne(context, options, api, { id, items });
      else if (options.verify) await verifyAll(context, options, api, { id, items });
      else show(context, options, { items }, () => checkpointTable(items, context.nowMs()));
    });
}

interface Listed {
  readonly id: string;
  readonly items: readonly Json[];
}

async function verifyAll(
  context: Context,
  options: CheckpointOptions,
  api: ApiClient,
  { id, items }: Listed,
): Promise<void> {
  const verified: Json[] = [];
  for (const { step } of items)
    verified.push(
      await api.send("POST", `/v1/jobs/${id}/checkpoints/${step}/verify`, undefined, {
        timeoutMs: verifyTimeoutMs,
      }),
    );
  show(context, options, { items: verified }, () =>
    [
      table(
        ["STEP", "GENERATION", "SIZE", "STATE"],
        verified.map((c) => [
          c.step,
          c.generation,
          bytes(c.bytes),
          c.state === "whole" ? pc.green(c.state) : pc.red(c.state),
        ]),
      ),
      ...verified.flatMap(({ damaged }) =>
        damaged.map(({ path, reason }: Json) => `${path}: ${reason}`),
      ),
    ].join("\n"),
  );
  const damaged = verified.filter(({ state }) => state !== "whole").map(({ step }) => step);
  if (damaged.length > 0)
    throw new AppError(
      "checkpoint-damaged",
      `${damaged.length} of ${verified.length} checkpoints of ${id} are damaged: step ${damaged.join(", ")}`,
    );
}

async function exportOne(
  context: Context,
  options: CheckpointOptions,
  api: ApiClient,
  { id, items }: Listed,
): Promise<void> {
  const checkpoint = items.find(({ step }) => String(step) === options.export);
  if (checkpoint === undefined)
    throw new AppError(
      "checkpoint-not-found",
      `${id} has no checkpoint of step ${options.export}; it has ${items.map(({ step }) => step).join(", ") || "none"}`,
    );
  if (options.output === undefined)
    throw new AppError("invalid-request", "--export: name a folder with -o DIR");
  const folder = resolve(context.workingDir, options.output);
  const files = await exportCheckpoint(
    { api, jobId: id, checkpoint, signal: context.signal },
    folder,
  );
  show(context, options, { folder, step: checkpoint.step, files }, () =>
    table(
      ["FILE", "SIZE", "SHA-256"],
      files.map((file) => [file.name, bytes(file.bytes), file.sha256.slice(0, 16)]),
    ),
  );
}

function checkpointTable(items: readonly Json[], nowMs: number): string {
  return table(
    ["STEP", "GENERATION", "SIZE", "FINAL", "WEIGHTS", "AGE"],
    items.map((c) => [
      c.step,
      c.generation,
      bytes(c.bytes),
      c.final ? "yes" : "",
      c.weightsSha256.slice(0, 16),
      ago(new Date(c.committedAtMs).toISOString(), nowMs),
    ]),
  );
}
