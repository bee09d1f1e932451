/** queues, queue, services, service, explain, what-if, replay: who goes first, why, when, what if. */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { AppError, type JobFact } from "@coxswain/domain";
import { type DecisionRecord, replay } from "@coxswain/scheduling";
import { parse } from "yaml";
import { type CommonOptions, type Context, connectApi, findJob, show, table } from "../context.ts";
import type { Json } from "../io/api-client.ts";
import { followEvents } from "../io/follow-events.ts";
import { pc } from "../render/colours.ts";
import type { Add } from "./jobs.ts";

const amounts = (given: Json): string =>
  Object.entries(given ?? {})
    .map(([name, amount]) => `${name} ${amount}`)
    .join(", ") || "-";

export function addQueueCommands(add: Add, context: Context): void {
  add("queues", "queues, their quotas, and who waits", ["cox queues"]).action(
    async (options: CommonOptions) => {
      const list = await (await connectApi(context, options)).get("/v1/queues");
      const head = ["QUEUE", "COHORT", "WEIGHT", "STRATEGY", "QUOTA", "USED", "HOLDING", "WAITING"];
      show(context, options, list, () =>
        table(
          head,
          list.items.map(({ name, spec, used, holding, waiting }: Json) => [
            name,
            spec?.cohort ?? "-",
            spec?.weight ?? 1,
            spec?.strategy ?? "BestEffortFIFO",
            amounts(spec?.nominalQuota),
            amounts(used),
            holding,
            waiting,
          ]),
        ),
      );
    },
  );
  add("queue <name> <spec>", "configure a queue", [
    `cox queue research '{nominalQuota: {cpu: 8, gpu: 2}, cohort: lab}'`,
    "cox queue night '{strategy: StrictFIFO, isStopped: true}'",
  ]).action(async (name: string, spec: string, options: CommonOptions) => {
    const api = await connectApi(context, options);
    const queue = await api.send("PUT", `/v1/queues/${encodeURIComponent(name)}`, parse(spec));
    show(context, options, queue, () => `queue ${name}: ${JSON.stringify(queue.spec)}`);
  });
  add("services", "online services and the room that is kept for them", ["cox services"]).action(
    async (options: CommonOptions) => {
      const list = await (await connectApi(context, options)).get("/v1/services");
      show(context, options, list, () =>
        table(
          ["SERVICE", "REPLICAS", "MISSING", "NODES", "REASON"],
          list.items.map((one: Json) => [
            one.name,
            one.spec.replicas,
            one.missing,
            amounts(one.reserved),
            one.reason,
          ]),
        ),
      );
    },
  );
  add("service <name> <spec>", "say what room an online service needs; jobs give way", [
    "cox service web '{replicas: 4, resources: {cpu: 1, memory: 512, gpu: 0}}'",
  ]).action(async (name: string, spec: string, options: CommonOptions) => {
    const api = await connectApi(context, options);
    const service = await api.send("PUT", `/v1/services/${encodeURIComponent(name)}`, parse(spec));
    show(context, options, service, () => `service ${name}: ${service.spec.replicas} replicas`);
  });
}

export function addWhyCommands(add: Add, context: Context): void {
  add("explain <job>", "why a job waits, what would start it, when it starts and ends", [
    "cox explain mnist-mlp",
  ]).action(async (given: string, options: CommonOptions) => {
    const api = await connectApi(context, options);
    const { id } = await findJob(api, given);
    const explanation = await api.get(`/v1/jobs/${id}/explain`);
    show(context, options, explanation, () => explanationText(explanation));
  });
  add("what-if <question>", "what would be decided with other jobs, nodes, quotas, services", [
    "cox what-if '{nodes: {count: 2, cpu: 4}}'",
    "cox what-if '{nodes: {count: 1, cpu: 4}, by: \"2026-11-26T18:00:00Z\"}'",
    "cox what-if '{jobs: [{workers: {min: 4, max: 4}}]}'",
  ]).action(async (question: string, options: CommonOptions) => {
    const api = await connectApi(context, options);
    const answer = await api.send("POST", "/v1/what-if", parse(question));
    show(context, options, answer, () => answerText(answer));
  });
  add("replay [log]", "make every recorded decision again, and compare it bit by bit", [
    "cox replay --save decisions.json",
    "cox replay decisions.json",
  ])
    .option("--save <file>", "keep the log and the records in a file")
    .action((log: string | undefined, options: CommonOptions & { save?: string }) =>
      replayLog(context, log, options),
    );
}

interface RecordedLog {
  readonly facts: readonly JobFact[];
  readonly records: readonly DecisionRecord[];
}

async function replayLog(
  context: Context,
  log: string | undefined,
  options: CommonOptions & { readonly save?: string },
): Promise<void> {
  const recorded: RecordedLog =
    log === undefined
      ? await readPlatform(context, options)
      : JSON.parse(await readFile(resolve(context.workingDir, log), "utf8"));
  if (options.save !== undefined)
    await writeFile(resolve(context.workingDir, options.save), `${JSON.stringify(recorded)}\n`);
  const hashOf = (text: string) => createHash("sha256").update(text).digest("hex");
  const result = replay(recorded.facts, recorded.records, hashOf);
  const { cycles, decisions, different, skipped } = result;
  show(
    context,
    options,
    result,
    () =>
      `${cycles} cycles with ${decisions} decisions made again: ${different.length === 0 ? pc.green("all the same, bit for bit") : pc.red(`${different.length} differ`)}${skipped > 0 ? `; ${skipped} older ones are no longer recorded` : ""}`,
  );
  if (different.length > 0)
    throw new AppError("setup-failed", `${different.length} cycles came out otherwise`);
}

/** The records first: every fact that they speak of is then in the log. */
async function readPlatform(context: Context, options: CommonOptions): Promise<RecordedLog> {
  const api = await connectApi(context, options);
  const { items } = await api.get("/v1/decisions");
  const facts: JobFact[] = [];
  for await (const event of followEvents(api, { follow: false, signal: context.signal }))
    facts.push({ ...event, timeMs: Date.parse(event.time) } as unknown as JobFact);
  return { facts, records: items };
}

function explanationText(one: Json): string {
  const lines = [`${pc.bold(one.jobId)} is ${one.state}`];
  if (one.isStarting) lines.push("  it starts at the scheduler's next look");
  if (one.reason !== undefined)
    lines.push(
      `  ${pc.yellow(one.reason)}: ${one.message}`,
      `  position ${one.position} in its queue`,
    );
  if (one.changes.length > 0)
    lines.push(
      "  any one of these would start it now:",
      ...one.changes.map((c: Json) => `    - ${c.text}`),
    );
  const likely = one.coverage === undefined ? "" : `, ${Math.round(100 * one.coverage)} % likely`;
  for (const name of ["starts", "ends"])
    if (one[name] !== null)
      lines.push(
        `  ${name} ${one[name].expected} (${one[name].earliest} to ${one[name].latest}${likely})`,
      );
  return lines.join("\n");
}

function answerText(answer: Json): string {
  const lines = answer.decisions.map(
    (one: Json) =>
      `${one.jobId}: ${one.kind}${one.workers === undefined ? "" : ` ${one.workers} workers`}${one.reason === undefined ? "" : `, ${one.reason}`}`,
  );
  if (lines.length === 0) lines.push("nothing would change now");
  if (answer.nodesNeeded !== undefined)
    lines.push(
      answer.nodesNeeded === null
        ? "even the most nodes that are tried do not do"
        : `${answer.nodesNeeded} more nodes are enough`,
    );
  if (answer.allDoneAtMs !== null)
    lines.push(`all jobs would be done at ${new Date(answer.allDoneAtMs).toISOString()}`);
  return lines.join("\n");
}
