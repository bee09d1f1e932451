/** One service as a child process: started, watched, started again when it dies. */
import { type ChildProcess, fork } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "@coxswain/domain";

export interface ServiceSpec {
  readonly name: string;
  readonly entry: string;
  readonly environment: Readonly<Record<string, string>>;
}

export interface ReadyFacts {
  readonly port?: number;
  readonly healthPort?: number;
}

/** What a service says to its supervisor. */
interface ServiceMessage extends ReadyFacts {
  readonly kind: string;
  readonly message?: string;
  readonly code?: string;
}

export interface ChildEvents {
  readonly onExit: (name: string, how: string, restarts: number) => void;
}

const readyTimeoutMs = 20_000;
const stopTimeoutMs = 12_000;
/** A service that dies more often than this, each time sooner than it may, is given up. */
const restartsMax = 20;
const livesMsMin = 60_000;
const restartDelayMs = 200;

export class ServiceChild {
  readonly name: string;
  readonly #spec: ServiceSpec;
  readonly #logDir: string;
  readonly #events: ChildEvents;
  #child: ChildProcess | undefined;
  #isStopping = false;
  #restarts = 0;
  #startedMs = 0;
  /** What it found out when it was first ready: a port that clients hold is taken again. */
  #learned: Readonly<Record<string, string>> = {};

  constructor(spec: ServiceSpec, logDir: string, events: ChildEvents) {
    this.name = spec.name;
    this.#spec = spec;
    this.#logDir = logDir;
    this.#events = events;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves with what the service says when it is ready. @throws AppError with its own first error */
  start(): Promise<ReadyFacts> {
    const output = openSync(join(this.#logDir, `${this.name}.log`), "a");
    const child = fork(this.#spec.entry, {
      stdio: ["ignore", output, output, "ipc"],
      env: { ...this.#spec.environment, ...this.#learned },
      execArgv: [],
      // A Ctrl-C of the terminal is for the supervisor alone; it ends its services in order.
      detached: true,
    });
    closeSync(output);
    this.#child = child;
    this.#startedMs = performance.now();
    child.once("exit", (code, signal) => void this.#exited(child, signal ?? `code ${code}`));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new AppError(
              "setup-failed",
              `${this.name} was not ready within ${readyTimeoutMs} ms; see ${this.#logDir}/${this.name}.log`,
            ),
          ),
        readyTimeoutMs,
      );
      child.on("message", (message: ServiceMessage) => {
        clearTimeout(timer);
        if (message.kind === "ready") resolve(this.#learn(message));
        if (message.kind === "failed") reject(this.#failure(message));
      });
      child.once("exit", () => {
        clearTimeout(timer);
        reject(
          new AppError(
            "setup-failed",
            `${this.name} ended before it was ready; see ${this.#logDir}/${this.name}.log`,
          ),
        );
      });
    });
  }

  #learn(facts: ServiceMessage): ReadyFacts {
    if (facts.port !== undefined) this.#learned = { HTTP_PORT: String(facts.port) };
    return facts;
  }

  #failure({ code, message }: ServiceMessage): AppError {
    const kind = code === "port-in-use" ? "port-in-use" : "setup-failed";
    return new AppError(kind, `${this.name}: ${message}`);
  }

  async #exited(child: ChildProcess, how: string): Promise<void> {
    if (this.#isStopping || this.#child !== child) return;
    this.#events.onExit(this.name, how, this.#restarts);
    this.#child = undefined;
    if (performance.now() - this.#startedMs >= livesMsMin) this.#restarts = 0;
    if (this.#restarts >= restartsMax) return;
    this.#restarts += 1;
    await delay(restartDelayMs);
    if (!this.#isStopping) await this.start().catch(() => undefined); // Its exit is handled like this one.
  }

  /** SIGKILL, as a crash would; it is started again. */
  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  /** From now on its end is not a surprise. */
  expectEnd(): void {
    this.#isStopping = true;
  }

  async stop(): Promise<void> {
    this.expectEnd();
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
    await ended;
    clearTimeout(timer);
  }
}
