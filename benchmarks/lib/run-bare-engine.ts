/** The engine alone, in processes of its own, on the models that benchmarks train. */
import { type ChildProcess, fork } from "node:child_process";
import { join, resolve } from "node:path";
import { assert } from "@coxswain/domain";
import { engineEnvironment } from "@coxswain/engine";
import type { BareFigures, BareMessage, BareOrders } from "./bare-engine.ts";

const root = resolve(import.meta.dirname, "../..");
const timeoutMs = 300_000;

export const models = {
  mlp: { path: join(root, "benchmarks/programs/mlp.ts"), batchSize: 64 },
  cnn: { path: join(root, "examples/mnist/cnn.ts"), batchSize: 64 },
  transformer: { path: join(root, "benchmarks/programs/transformer.ts"), batchSize: 16 },
} as const;
export type Model = keyof typeof models;

/**
 * So many processes share the batch's shards, begin at the same moment, and exchange nothing: together
 * they show what the machine lets as many workers reach at most.
 *
 * @returns what each measured, on its part of the batch
 */
export async function runBareEngines(
  model: Model,
  processes: number,
  more: Omit<BareOrders, "programPath" | "batchSize">,
): Promise<BareFigures[]> {
  const { path: programPath, batchSize } = models[model];
  const [shards, samples] = [more.shards / processes, batchSize / processes];
  assert(Number.isInteger(shards), "processes share the shards evenly");
  const orders: BareOrders = { ...more, programPath, batchSize: samples, shards };
  const started = Array.from({ length: processes }, () => start(orders));
  await Promise.all(started.map((one) => one.ready));
  for (const { child } of started) child.send("go");
  return await Promise.all(started.map(({ figures }) => figures));
}

interface Started {
  readonly child: ChildProcess;
  readonly ready: Promise<void>;
  readonly figures: Promise<BareFigures>;
}

function start(orders: BareOrders): Started {
  const warm = Promise.withResolvers<void>();
  const measured = Promise.withResolvers<BareFigures>();
  const child = fork(join(import.meta.dirname, "bare-engine.ts"), [JSON.stringify(orders)], {
    timeout: timeoutMs,
    env: { ...process.env, ...engineEnvironment(orders.engine, { xla: orders.xla }) },
  });
  child.on("message", (message: BareMessage) =>
    message.kind === "ready" ? warm.resolve() : measured.resolve(message.figures),
  );
  child.once("exit", (code) => {
    const error = new Error(`the engine alone ended with ${code}`);
    warm.reject(error);
    measured.reject(error);
  });
  measured.promise.catch(() => undefined);
  return { child, ready: warm.promise, figures: measured.promise };
}
