/** Users: they submit jobs, change their minds, and hold the platform to what it has acknowledged. */
import { AppError, isEnded } from "@coxswain/domain";
import { exampleJob } from "@coxswain/domain/testing";
import { submitJob } from "../../../services/job-api/src/routes/submit.ts";
import type { RequestFact } from "../../../services/job-api/src/service.ts";
import { pickOf, type Random } from "../lib/random.ts";
import type { PlatformWorld } from "./world.ts";

const patienceMs = 500;
const bundle = "0".repeat(64);

export class Users {
  readonly #world: PlatformWorld;
  readonly #random: Random;
  /** Jobs that the platform said it has. */
  readonly acknowledged: string[] = [];
  /** Requests on their way. */
  #open = 0;

  constructor(world: PlatformWorld, random: Random) {
    this.#world = world;
    this.#random = random;
    world.network.server.objects.set(bundle, new Uint8Array(1));
  }

  get areServed(): boolean {
    return this.#open === 0;
  }

  /** As long as it takes: the client may be cut off, and the answer may be lost. */
  async #persist<Result>(act: () => Promise<Result>): Promise<Result | undefined> {
    this.#open += 1;
    try {
      for (;;) {
        const answer = await this.#attempt(act);
        if (answer.kind === "done") return answer.result;
        if (answer.kind === "refused") return undefined;
        await new Promise<void>((resolve) => this.#world.at(patienceMs, resolve));
      }
    } finally {
      this.#open -= 1;
    }
  }

  /** A server that died answers nobody: the client gives up after a while. */
  async #attempt<Result>(
    act: () => Promise<Result>,
  ): Promise<{ kind: "done"; result: Result } | { kind: "refused" } | { kind: "again" }> {
    if (this.#world.api === undefined) return { kind: "again" };
    const timeout = new Promise<{ kind: "again" }>((resolve) =>
      this.#world.at(20 * patienceMs, () => resolve({ kind: "again" })),
    );
    const answer = act().then(
      (result) => ({ kind: "done", result }) as const,
      (error: unknown) => {
        if (!(error instanceof AppError)) throw error;
        return error.retryable ? ({ kind: "again" } as const) : ({ kind: "refused" } as const);
      },
    );
    return await Promise.race([answer, timeout]);
  }

  submit(name: string): void {
    const random = this.#random;
    const min = 1 + Math.floor(random() * 2);
    const job = exampleJob(name, {
      steps: 20 + Math.floor(random() * 60),
      workers: { min, max: min + Math.floor(random() * 2) },
      priority: Math.floor(random() * 2),
      checkpoint: { everySteps: 5 + Math.floor(random() * 10), keep: 1 + Math.floor(random() * 2) },
    });
    void this.#persist(() => submitJob(this.#world.api!, job, name)).then((answer) => {
      if (answer === undefined) this.#world.fail(`${name} is refused`);
      else this.acknowledged.push(answer.id);
    });
  }

  /** Something about some job. */
  changeMind(a: number, b: number): string | undefined {
    const jobs = [...this.#world.invariants.jobs.values()].filter((job) => !isEnded(job));
    const job = pickOf(jobs, a);
    if (job === undefined) return undefined;
    const { min, max } = job.spec.workers;
    const fact = pickOf<RequestFact>(
      [
        { name: "job.suspend-requested", payload: {} },
        { name: "job.resume-requested", payload: {} },
        { name: "job.resize-requested", payload: { workersMin: 1, workersMax: max + 1 } },
        { name: "job.resize-requested", payload: { workersWanted: min } },
        { name: "job.cancel-requested", payload: {} },
      ],
      b,
    )!;
    this.ask(job.id, fact);
    return fact.name;
  }

  ask(jobId: string, fact: RequestFact): void {
    void this.#persist(() => this.#world.api!.request(jobId, () => fact));
  }

  /** What is suspended goes on, so that everything can end. */
  resumeAll(): void {
    for (const job of this.#world.invariants.jobs.values())
      if (job.state.kind === "suspended")
        this.ask(job.id, { name: "job.resume-requested", payload: {} });
  }
}
