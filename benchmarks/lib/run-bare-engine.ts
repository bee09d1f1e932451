/** The engine alone, in a process of its own, on the models that benchmarks train. */
import { fork } from "node:child_process";
import { join, resolve } from "node:path";
import { engineEnvironment } from "@coxswain/engine";
import type { BareFigures, BareOrders } from "./bare-engine.ts";

const root = resolve(import.meta.dirname, "../..");
const timeoutMs = 300_000;

export const models = {
  mlp: { path: join(root, "benchmarks/programs/mlp.ts"), batchSize: 64 },
  cnn: { path: join(root, "examples/mnist/cnn.ts"), batchSize: 64 },
  transformer: { path: join(root, "benchmarks/programs/transformer.ts"), batchSize: 16 },
} as const;
export type Model = keyof typeof models;

export function runBareEngine(
  model: Model,
  more: Omit<BareOrders, "programPath" | "batchSize">,
): Promise<BareFigures> {
  const { path: programPath, batchSize } = models[model];
  const orders: BareOrders = { ...more, programPath, batchSize };
  const { promise, resolve: answer, reject } = Promise.withResolvers<BareFigures>();
  const child = fork(join(import.meta.dirname, "bare-engine.ts"), [JSON.stringify(orders)], {
    timeout: timeoutMs,
    env: { ...process.env, ...engineEnvironment(orders.engine, { xla: orders.xla }) },
  });
  child.once("message", (message) => answer(message as BareFigures));
  child.once("exit", (code) => reject(new Error(`the engine alone ended with ${code}`)));
  return promise;
}
