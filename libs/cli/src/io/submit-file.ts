/** Submits a job file: its program is bundled and uploaded, then the job is sent. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { AppError, errorCodes } from "@coxswain/domain";
import { decideSubmission } from "@coxswain/domain/submission";
import { parseDocument } from "yaml";
import { findJob } from "../context.ts";
import { type ApiClient, ApiError, type Json } from "./api-client.ts";
import { bundleProgram } from "./bundle-program.ts";

/** Reads YAML or JSON (which YAML includes). @throws AppError `invalid-spec` with the place of the mistake */
export async function readJobFile(path: string): Promise<Record<string, Json>> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") throw new AppError("file-not-found", `there is no file ${path}`);
    throw new AppError("invalid-spec", `${path} cannot be read: ${cause.message}`, { cause });
  });
  const document = parseDocument(text);
  const [first] = document.errors;
  if (first !== undefined) throw new AppError("invalid-spec", `${path}: ${first.message}`);
  const value = document.toJS({ maxAliasCount: 20 }) as Record<string, Json>;
  if (typeof value !== "object" || value === null)
    throw new AppError("invalid-spec", `${path} holds no TrainingJob`);
  return value;
}

/** `key.path=value` onto the job: values are read as YAML; `null` takes the field away. */
export function applySettings(job: Record<string, Json>, settings: readonly string[]): void {
  for (const setting of settings) {
    const equals = setting.indexOf("=");
    if (equals < 1)
      throw new AppError(
        "invalid-spec",
        `--set ${setting}: write it as path=value, for example --set spec.epochs=1`,
      );
    const keys = setting.slice(0, equals).split(".");
    let target = job;
    for (const key of keys.slice(0, -1)) {
      target[key] ??= {};
      target = target[key];
    }
    const value = parseDocument(setting.slice(equals + 1)).toJS() as Json;
    if (value === null) delete target[keys.at(-1)!];
    else target[keys.at(-1)!] = value;
  }
}

export async function submitFile(
  api: ApiClient,
  path: string,
  options: {
    readonly settings?: readonly string[];
    readonly idempotencyKey?: string;
    /** JOB@STEP: where it begins. */
    readonly from?: string;
  } = {},
): Promise<Json> {
  const job = await readJobFile(path);
  applySettings(job, options.settings ?? []);
  if (options.from !== undefined)
    job["spec"] = { ...job["spec"], from: await findSource(api, options.from) };
  const program = job["spec"]?.program;
  if (typeof program === "string" && !program.startsWith("sha256:")) {
    refuseInvalid({ ...job, spec: { ...job["spec"], program: noProgram } });
    const bundle = await bundleProgram(resolve(dirname(path), program));
    await api.upload(bundle.sha256, bundle.bytes);
    job["spec"].program = `sha256:${bundle.sha256}`;
  }
  return api.submit(job, options.idempotencyKey);
}

/** JOB@STEP as `spec.from` has it; JOB alone stands for its newest checkpoint. */
async function findSource(api: ApiClient, given: string): Promise<Json> {
  const [name = "", text] = given.split("@");
  const { id, checkpoints } = await findJob(api, name);
  const step = text === undefined ? checkpoints.at(-1)?.step : Number(text);
  if (step === undefined) throw new AppError("checkpoint-not-found", `${id} has no checkpoint yet`);
  if (!Number.isSafeInteger(step))
    throw new AppError("invalid-request", `--from ${given}: write it as JOB@STEP`);
  return { job: id, step };
}

/** Stands for a program that has no hash yet. */
const noProgram = `sha256:${"0".repeat(64)}`;

/** What the API would say, before anything is bundled or leaves the machine. @throws ApiError `invalid-spec` */
function refuseInvalid(job: Record<string, Json>): void {
  const submission = decideSubmission(job);
  if (submission.kind === "valid") return;
  const { status, fix } = errorCodes["invalid-spec"];
  const detail = "the job file holds no valid TrainingJob";
  const { violations } = submission;
  throw new ApiError({ code: "invalid-spec", detail, status, fix, violations });
}
