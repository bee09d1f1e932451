/**
 * One service as a child process: started, watched, started again when it dies. One that dies again
 * and again is given up, with an error that says why.
 */
import { type ChildProcess, fork } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
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
  /** It ended and is started again. */
  readonly onExit: (name: string, how: string) => void;
  /** It ended and is not. */
  readonly onGivenUp: (error: AppError) => void;
}

export interface ChildOptions {
  /** Before it is started again. Default 200 ms. */
  readonly restartDelayMs?: number;
  /** Monotonic. */
  readonly nowMs?: () => number;
}

const readyTimeoutMs = 20_000;
const stopTimeoutMs = 12_000;
/** A service that dies more often than this, each time sooner than it may, is given up. */
const restartsMax = 20;
const livesMsMin = 60_000;
const restartDelayMsDefault = 200;
/** Of the log, to find what was said last. */
const tailChars = 8000;
const errorCharsMax = 500;

export class ServiceChild {
  readonly name: string;
  readonly #spec: ServiceSpec;
  readonly #logDir: string;
  readonly #events: ChildEvents;
  readonly #restartDelayMs: number;
  readonly #nowMs: () => number;
  #child: ChildProcess | undefined;
  #isStopping = false;
  #restarts = 0;
  #startedMs = 0;
  /** What it said itself before it ended. */
  #said: string | undefined;
  /** What it found out when it was first ready: a port that clients hold is taken again. */
  #learned: Readonly<Record<string, string>> = {};

  constructor(
    spec: ServiceSpec,
    logDir: string,
    events: ChildEvents,
    { restartDelayMs = restartDelayMsDefault, nowMs = () => performance.now() }: ChildOptions = {},
  ) {
    this.name = spec.name;
    this.#spec = spec;
    this.#logDir = logDir;
    this.#events = events;
    this.#restartDelayMs = restartDelayMs;
    this.#nowMs = nowMs;
  }

  get #logFile(): string {
    return join(this.#logDir, `${this.name}.log`);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves with what the service says when it is ready. @throws AppError with its own first error */
  start(): Promise<ReadyFacts> {
    const output = openSync(this.#logFile, "a");
    const child = fork(this.#spec.entry, {
      stdio: ["ignore", output, output, "ipc"],
      env: { ...this.#spec.environment, ...this.#learned },
      execArgv: [],
      // A Ctrl-C of the terminal is for the supervisor alone; it ends its services in order.
      detached: true,
    });
    closeSync(output);
    this.#child = child;
    this.#startedMs = this.#nowMs();
    this.#said = undefined;
    child.once("exit", (code, signal) => void this.#exited(child, signal ?? `code ${code}`));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new AppError(
              "setup-failed",
              `${this.name} was not ready within ${readyTimeoutMs} ms; see ${this.#logFile}`,
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
            `${this.name} ended before it was ready; see ${this.#logFile}`,
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
    this.#said = message;
    const kind = code === "port-in-use" ? "port-in-use" : "setup-failed";
    return new AppError(kind, `${this.name}: ${message}`);
  }

  async #exited(child: ChildProcess, how: string): Promise<void> {
    if (this.#isStopping || this.#child !== child) return;
    this.#child = undefined;
    if (this.#nowMs() - this.#startedMs >= livesMsMin) this.#restarts = 0;
    if (this.#restarts >= restartsMax) return this.#events.onGivenUp(await this.#whyGivenUp(how));
    this.#events.onExit(this.name, how);
    this.#restarts += 1;
    await delay(this.#restartDelayMs);
    if (!this.#isStopping) await this.start().catch(() => undefined); // Its exit is handled like this one.
  }

  async #whyGivenUp(how: string): Promise<AppError> {
    const last = (this.#said ?? (await this.#lastWords())).slice(0, errorCharsMax);
    const often = `${this.name} ended ${restartsMax + 1} times in a row, each time within ${livesMsMin / 1000} s`;
    return new AppError(
      "service-down",
      `${often}; the last time with ${how}: ${last}; its log is ${this.#logFile}`,
    );
  }

  /** The last line of its log that looks like an error, or the last one. */
  async #lastWords(): Promise<string> {
    const text = await readFile(this.#logFile, "utf8").catch(() => "");
    const lines = text
      .slice(-tailChars)
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
    const named = lines.findLast((line) => /^(\w+)?Error\b/.test(line));
    return named ?? lines.findLast((line) => /error|fatal/i.test(line)) ?? "it said nothing";
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
