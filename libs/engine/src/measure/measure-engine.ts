/** How fast an engine computes gradients on this machine. */
import { fork } from "node:child_process";
import { AppError, type EngineSettings } from "@coxswain/domain";
import type { Gpu } from "../gpus.ts";
import { engineEnvironment } from "../native-place.ts";
import type { ProgramMode } from "../port.ts";

export interface MeasureOrders extends EngineSettings {
  readonly engine: string;
  readonly gpu?: Gpu | undefined;
  readonly cacheDir: string;
  readonly seconds: number;
  /** Samples of a step, in eight shards. */
  readonly batchSize: number;
}

export interface EngineSpeed {
  /** Of gradients, on one core. */
  readonly samplesPerSecond: number;
  readonly mode: ProgramMode;
}

/** Opening the engine and compiling the program come on top of what was ordered. */
const openingMs = 60_000;

/**
 * In a process of its own, since engines read the environment when they are loaded.
 * @throws AppError `engine-unavailable` when the process ends without an answer
 */
export function measureEngine(
  orders: MeasureOrders,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<EngineSpeed> {
  const { promise, resolve, reject } = Promise.withResolvers<EngineSpeed>();
  const child = fork(new URL("./process.ts", import.meta.url), [JSON.stringify(orders)], {
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    env: { ...environment, ...engineEnvironment(orders.engine, orders) },
    execArgv: [],
    timeout: orders.seconds * 1000 + openingMs,
  });
  child.once("message", (speed) => resolve(speed as EngineSpeed));
  child.once("error", reject);
  child.once("exit", (code, signal) => {
    const how = signal ?? `code ${code}`;
    reject(
      new AppError("engine-unavailable", `engine ${orders.engine} cannot be measured: ${how}`),
    );
  });
  return promise;
}
