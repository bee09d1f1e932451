/**
 * A worker from its start to its end. The control thread runs here: bus, peers, membership; the
 * compute thread is in `compute-thread.ts`.
 */
import { appendFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Bus } from "@coxswain/bus";
import { AppError, type JobId, stepsOf } from "@coxswain/domain";
import { withSpan } from "@coxswain/service";
import { openStore } from "@coxswain/store";
import { type Frame, frameTypes } from "../exchange/frames.ts";
import { allocate, buildAdd, vectorsOf } from "../exchange/memory.ts";
import { type ControlMessage, Peers } from "../exchange/peers.ts";
import { Change } from "./change.ts";
import { Compute } from "./compute.ts";
import type { WorkerConfig } from "./config.ts";
import { Course } from "./course.ts";
import { SnapshotInbox } from "./follow.ts";
import { followJob } from "./job-context.ts";
import { enterGroup } from "./join.ts";
import { type Generation, Ledger } from "./ledger.ts";
import { GroupMembership } from "./member.ts";

export interface WorkerEnd {
  /** 0 left or finished, 10 program or engine, 11 memory, 12 fenced out. */
  readonly exitCode: number;
  readonly error?: { readonly code: string; readonly message: string; readonly step?: number };
  readonly generation: number;
  readonly step: number;
}

export interface WorkerPorts {
  readonly bus: Bus;
  readonly config: WorkerConfig;
  /** Aborts when the worker shall leave. */
  readonly leave: AbortSignal;
  readonly log: (sentence: string, fields: object) => void;
}

const handshakeTimeoutMs = 1000;

/** Trains until the job ends, the worker shall leave, or it fails; says how it ended. */
export async function runWorker(ports: WorkerPorts): Promise<WorkerEnd> {
  const { bus, config, log } = ports;
  const jobId = config.COXSWAIN_JOB_ID as JobId;
  const ended = Promise.withResolvers<WorkerEnd>();
  const stop = new AbortController();
  let membership: GroupMembership | undefined;
  const end = (exitCode: number, error?: WorkerEnd["error"]) => {
    ended.resolve({
      exitCode,
      generation: membership?.generation ?? 0,
      step: membership?.step ?? 0,
      ...(error === undefined ? {} : { error }),
    });
  };
  const fail = (error: AppError, step: number) => {
    const place = step >= 0 ? { step } : {};
    end(error.code === "out-of-memory" ? 11 : 10, {
      code: error.code,
      message: error.message,
      ...place,
    });
  };

  const context = await followJob(bus, jobId, stop.signal);
  const { spec, engine } = context.job();
  const programPath = await fetchProgram(bus, config, spec.program);
  const compute = new Compute(
    {
      engine: config.COXSWAIN_ENGINE,
      cacheDir: config.COXSWAIN_CACHE_DIR,
      compile: { ...spec, programPath },
    },
    { onPiece: (...piece) => membership?.onPiece(...piece), onFailed: fail },
  );
  const [compiled, secret] = await Promise.race([
    Promise.all([compute.compiled, bus.bucket("secrets").get(jobId)]),
    ended.promise.then((): [undefined, undefined] => [undefined, undefined]),
  ]);
  if (compiled === undefined) return finish();
  if (secret === undefined) throw new AppError("peer-refused", "the job has no secret yet");
  if (engine !== undefined && engine.identity !== compiled.identity) {
    fail(
      new AppError(
        "engine-mismatch",
        `the job runs on "${engine.identity}", this worker has "${compiled.identity}"`,
      ),
      -1,
    );
    return finish();
  }

  const areas = allocate(compiled.layout, spec.shards);
  compute.attach(areas);
  const steps = stepsOf(spec, compiled.samplesTrain);
  const snapshot = {
    current: undefined as SnapshotInbox | undefined,
    whole: Promise.withResolvers<void>(),
  };
  const peers = new Peers(
    {
      jobId,
      workerId: config.COXSWAIN_WORKER_ID,
      secret: secret.value.secret,
      host: config.COXSWAIN_HOST,
      handshakeTimeoutMs,
    },
    {
      onConnected: () => undefined,
      onFrame: (from, frame) =>
        frame.type === frameTypes.snapshot
          ? onSnapshotFrame(frame)
          : membership?.onFrame(from, frame),
      onControl: (from, message) =>
        message.kind === "snapshot" ? onSnapshot(message) : membership?.onControl(from, message),
      onLost: (workerId, reason) => {
        log("connection lost", { workerId, reason });
        membership?.onLost(workerId);
      },
    },
  );
  const me = {
    workerId: config.COXSWAIN_WORKER_ID,
    nodeId: config.COXSWAIN_NODE_ID,
    address: await peers.listen(),
  };
  const store = openStore(config.STORE_URL);
  const ledger: Ledger = new Ledger({
    bus,
    jobId,
    steps,
    pace: () => course.pace(),
    onError: (error) => log("the ledger could not be told", { err: error }),
  });
  for (const event of context.training) ledger.observe(event);
  context.onEvent((event) => {
    ledger.observe(event);
    course.observe(event);
  });
  const record = bus.bucket("membership");
  const course: Course = new Course({
    bus,
    store,
    compute,
    compiled,
    ledger,
    steps,
    me,
    job: context.job,
    membership: () => membership!,
    onEnded: () => end(0),
    onFailed: fail,
    log,
  });
  membership = new GroupMembership({
    me,
    shards: spec.shards,
    steps,
    compiled,
    compute,
    peers,
    ledger,
    log,
    vectors: vectorsOf(areas),
    add: buildAdd(areas.memory),
    buildChange: (changePorts) => new Change(changePorts, record, jobId),
    knownDead: () => context.knownDead,
    onCommitted: (step, metrics) => {
      commitLog(config, step);
      course.committed(step, metrics);
    },
    onTrained: () => course.trained(),
    onGone: (how) => end(how === "left" ? 0 : 12),
    onFailed: fail,
  });

  function onSnapshot(message: ControlMessage): void {
    if (message["programHash"] !== compiled!.hash)
      return fail(new AppError("engine-mismatch", "the group runs another program or engine"), -1);
    ledger.inherit(message["generations"] as Generation[]);
    snapshot.current = new SnapshotInbox(Number(message["step"]), Number(message["floats"]));
  }
  function onSnapshotFrame(frame: Frame): void {
    if (membership?.state !== "joining" || !snapshot.current?.receive(frame)) return;
    membership.startAt(snapshot.current.step);
    void compute.load(0, snapshot.current.floats);
    snapshot.whole.resolve();
  }

  const heartbeat = setInterval(
    () => peers.heartbeat(config.HEARTBEAT_TIMEOUT_MS),
    config.HEARTBEAT_TIMEOUT_MS / 3,
  );
  const watchdog = setInterval(() => {
    if (membership!.stepAgeMs > spec.stepTimeout * 1000)
      fail(
        new AppError(
          "program-stuck",
          `step ${membership!.step} takes longer than ${spec.stepTimeout} s`,
        ),
        membership!.step,
      );
  }, 500);
  const telling = ledger.run();
  void watchRecord();
  const onLeave = () => void course.leave();
  if (ports.leave.aborted) onLeave();
  ports.leave.addEventListener("abort", onLeave, { once: true });
  const entering = withSpan(
    {
      name: "worker enters its group",
      traceparent: config.TRACEPARENT,
      attributes: { jobId, workerId: me.workerId },
    },
    () =>
      enterGroup({
        me,
        job: context.job,
        record,
        store,
        peers,
        compute,
        compiled,
        ledger,
        membership: membership!,
        knownDead: () => context.knownDead,
        signal: stop.signal,
        log,
        snapshot,
      }),
  );
  entering.catch((error: unknown) =>
    fail(
      error instanceof AppError
        ? error
        : new AppError("worker-failed", String(error), { cause: error }),
      -1,
    ),
  );
  return finish();

  /** The record is the last word: a decision that did not reach this worker, or one without it. */
  async function watchRecord(): Promise<void> {
    for await (const { value } of record.watch({ key: jobId, signal: stop.signal })) {
      if (value === undefined || value.generation <= membership!.generation) continue;
      const isIn = value.members.some(({ workerId }) => workerId === me.workerId);
      if (!isIn && membership!.state === "joining") continue;
      membership!.adopt({ ...value, cause: "join", joined: [], left: [], lost: [], level: [] });
    }
  }

  async function finish(): Promise<WorkerEnd> {
    const how = await ended.promise;
    clearInterval(heartbeat);
    clearInterval(watchdog);
    membership?.change.stop();
    ledger?.stop();
    stop.abort();
    await peers?.close();
    await telling;
    if (how.error !== undefined)
      await writeExit(config, how).then(() => tellFailure(bus, config, how));
    else await writeExit(config, how);
    return how;
  }
}

async function fetchProgram(bus: Bus, config: WorkerConfig, program: string): Promise<string> {
  const hash = program.replace("sha256:", "");
  const bytes = await bus.getBundle(hash);
  if (bytes === undefined)
    throw new AppError("program-not-found", `no bundle ${program} was uploaded`);
  await mkdir(config.COXSWAIN_WORKER_DIR, { recursive: true });
  const path = join(config.COXSWAIN_WORKER_DIR, `program-${hash.slice(0, 16)}.mjs`);
  await writeFile(path, bytes);
  return path;
}

function commitLog(config: WorkerConfig, step: number): void {
  if (config.COXSWAIN_COMMIT_LOG === undefined) return;
  appendFileSync(
    config.COXSWAIN_COMMIT_LOG,
    `${JSON.stringify({ worker: config.COXSWAIN_WORKER_ID, step, atMs: Date.now() })}\n`,
  );
}

async function writeExit(config: WorkerConfig, end: WorkerEnd): Promise<void> {
  await mkdir(config.COXSWAIN_WORKER_DIR, { recursive: true });
  await writeFile(join(config.COXSWAIN_WORKER_DIR, "exit.json"), JSON.stringify(end));
}

/** Errors that a restart would not mend end the job; the agent reports the others as a lost worker. */
async function tellFailure(
  bus: Bus,
  config: WorkerConfig,
  { error, generation }: WorkerEnd,
): Promise<void> {
  if (error === undefined || error.code === "out-of-memory" || error.code === "worker-failed")
    return;
  const jobId = config.COXSWAIN_JOB_ID as JobId;
  const workerId = config.COXSWAIN_WORKER_ID;
  await bus
    .append({
      name: "training.failed",
      jobId,
      id: `${jobId}.training.failed.${workerId}`,
      source: "trainer",
      payload: { generation, error: { ...error, message: error.message.slice(0, 4000), workerId } },
    })
    .catch(() => undefined); // exit.json has it; the agent reports it.
}
