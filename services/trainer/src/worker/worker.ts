/**
 * A worker from its start to its end. The control thread runs here: bus, peers, membership; the
 * compute thread is in `compute-thread.ts`.
 */
import type { Bus } from "@coxswain/bus";
import { AppError, isEnded, type JobId, stepsOf } from "@coxswain/domain";
import { withSpan } from "@coxswain/service";
import { openStore } from "@coxswain/store";
import { buildKernels } from "../exchange/kernels.ts";
import { type Areas, vectorsOf } from "../exchange/memory.ts";
import type { Peers } from "../exchange/peers.ts";
import type { SharedPeers } from "../exchange/shared-peers.ts";
import { tellPassedOver } from "./checkpoints.ts";
import { realClock } from "./clock.ts";
import { commitLog } from "./commit-log.ts";
import type { Compute } from "./compute.ts";
import type { Compiled } from "./compute-messages.ts";
import type { WorkerConfig } from "./config.ts";
import { Course } from "./course.ts";
import {
  type Ending,
  endingOf,
  endingOfStart,
  leftEarly,
  reportEnd,
  sayOfWorker,
  type WorkerEnd,
} from "./ending.ts";
import { Gate } from "./gate.ts";
import { followJob, type JobContext, trainingMaxOf } from "./job-context.ts";
import { enterGroup } from "./join.ts";
import { Ledger } from "./ledger.ts";
import { GroupMembership } from "./member.ts";
import { openCompute } from "./open-compute.ts";
import { openPeers } from "./open-peers.ts";
import { patiently } from "./patiently.ts";
import { fetchProgram } from "./program.ts";
import { RecordAcceptor } from "./record-acceptor.ts";
import { Saver } from "./saver.ts";
import { areasFor, type Links, openLinks, shareMemory } from "./shareable.ts";
import { supervisionEvents } from "./supervision-events.ts";
import { Transfer } from "./transfer.ts";
import { keepWatch, limitRecording, watchAgent, watchPlacement, watchRecord } from "./watch.ts";

export interface WorkerPorts {
  readonly bus: Bus;
  readonly config: WorkerConfig;
  /** Aborts when the worker shall leave. */
  readonly leave: AbortSignal;
  readonly log: (sentence: string, fields: object) => void;
}

/** Trains until the job ends, the worker shall leave, or it fails; says how it ended. */
export async function runWorker(ports: WorkerPorts): Promise<WorkerEnd> {
  const { bus, config } = ports;
  const stop = new AbortController();
  const ended = Promise.withResolvers<Ending>();
  const parts: Parts = { group: undefined, firstCommit: Promise.withResolvers() };
  try {
    const end = await Promise.race([
      ended.promise,
      leftEarly(ports.leave, () => parts.group !== undefined),
      start(ports, parts, stop.signal, ended.resolve).then(() => ended.promise),
    ]);
    return await reportEnd(bus, config, parts.group, end);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return await reportEnd(bus, config, parts.group, endingOfStart(error));
  } finally {
    stop.abort();
    parts.stop?.();
    parts.ledger?.stop();
    parts.group?.change.stop();
    await parts.peers?.close();
    await parts.telling;
  }
}

/** What has been started so far. */
interface Parts {
  group: GroupMembership | undefined;
  readonly firstCommit: PromiseWithResolvers<void>;
  peers?: Peers;
  sharing?: SharedPeers;
  ledger?: Ledger;
  transfer?: Transfer;
  telling?: Promise<void>;
  stop?: () => void;
}

type End = (how: Ending) => void;

async function start(
  ports: WorkerPorts,
  parts: Parts,
  signal: AbortSignal,
  end: End,
): Promise<void> {
  const { bus, config, log } = ports;
  const jobId = config.COXSWAIN_JOB_ID as JobId;
  const asking = { clock: bus.clock, signal: AbortSignal.any([signal, ports.leave]), log };
  const fail = (error: AppError, step: number) => end(endingOf(error, step));
  const context = await followJob(bus, jobId, signal);
  const { spec, finished } = context.job();
  if (finished !== undefined || isEnded(context.job()))
    return end({ exitCode: 0, reason: "finished" });
  const [programPath, secret] = await Promise.all([
    patiently(asking, () => fetchProgram(bus, config, spec.program)),
    patiently(asking, () => bus.bucket("secrets").get(jobId)),
  ]);
  if (secret === undefined) throw new AppError("peer-refused", "the job has no secret yet");
  const events = {
    onPiece: (...piece: Parameters<GroupMembership["onPiece"]>) => parts.group?.onPiece(...piece),
    onWhole: (...whole: Parameters<GroupMembership["onWhole"]>) => parts.group?.onWhole(...whole),
    onRan: (...ran: Parameters<GroupMembership["onRan"]>) => parts.group?.onRan(...ran),
    onWitness: (...witness: Parameters<GroupMembership["supervision"]["witnessed"]>) =>
      parts.group?.supervision.witnessed(...witness),
    onFailed: fail,
    onRecording: (ready: Promise<unknown>) => limitRecording(spec.stepTimeout, ready, fail),
  };
  const [{ compute, compiled }, links] = await Promise.all([
    openCompute({ bus, config, context, asking, log }, programPath, events),
    openLinks(config, log),
  ]);
  const secretText = secret.value.secret;
  const known = { context, compute, compiled, links, secret: secretText };
  await run({ ...ports, parts, signal, end, fail, ...known });
}

interface Running extends WorkerPorts {
  readonly parts: Parts;
  readonly signal: AbortSignal;
  readonly end: End;
  readonly fail: (error: AppError, step: number) => void;
  readonly context: JobContext;
  readonly compute: Compute;
  readonly compiled: Compiled;
  readonly links: Links;
  readonly secret: string;
}

async function run(running: Running): Promise<void> {
  const { bus, config, parts, signal, fail, context, compute, compiled, log } = running;
  const store = openStore(config.STORE_URL);
  const steps = stepsOf(context.job().spec, compiled.samplesTrain);
  const peers = openPeers(running, parts);
  parts.peers = peers;
  const me = {
    workerId: config.COXSWAIN_WORKER_ID,
    nodeId: config.COXSWAIN_NODE_ID,
    address: await peers.listen(),
  };
  const ledger: Ledger = new Ledger({
    bus,
    jobId: config.COXSWAIN_JOB_ID as JobId,
    steps,
    pace: () => course.pace(),
    onError: (error) => log("the ledger could not be told", { err: error }),
  });
  parts.ledger = ledger;
  const { shards } = context.job().spec;
  const areas = areasFor(running.links.shareable, compiled.layout, shards);
  const saver = new Saver({ storeUrl: config.STORE_URL, areas, compute, onFailed: fail });
  const course = buildCourse(running, { saver, ledger, steps, me });
  context.tell([ledger, course]);
  const group = buildGroup(running, { peers, ledger, course, steps, me }, { areas, saver });
  const transfer = buildTransfer(running, ledger);
  parts.group = group;
  parts.transfer = transfer;
  const onLeave = () => void course.leave();
  watchOver(running, group, onLeave);
  parts.telling = ledger.run();
  const record = bus.bucket("membership");
  const knownDead = () => context.knownDead;
  const common = { me, job: context.job, record, store, peers, compute, compiled, ledger, steps };
  const attributes = { jobId: config.COXSWAIN_JOB_ID, workerId: me.workerId };
  const stopped = abortOf(signal);
  await withSpan(
    { name: "worker to its first step", traceparent: config.TRACEPARENT, attributes },
    async (span) => {
      await enterGroup({
        ...common,
        membership: group,
        transfer,
        clock: realClock,
        knownDead,
        signal,
        onPassedOver: tellPassedOver(running),
        log,
      });
      span.addEvent("entered the group", { generation: group.generation });
      await Promise.race([parts.firstCommit.promise, stopped]);
    },
  ).catch((error: unknown) => {
    if (!(error instanceof AppError)) throw error;
    running.end(endingOfStart(error));
  });
}

function watchOver(running: Running, group: GroupMembership, onLeave: () => void): void {
  const { bus, config, parts, context, signal, fail, leave } = running;
  const { stepTimeout, heartbeatTimeout } = context.job().spec;
  const timeoutMs =
    heartbeatTimeout === undefined ? config.HEARTBEAT_TIMEOUT_MS : heartbeatTimeout * 1000;
  const { COXSWAIN_WORKER_ID: workerId } = config;
  parts.stop = keepWatch({ stepTimeout, timeoutMs, fail }, parts.peers!, group, workerId);
  void watchRecord(bus, { jobId: config.COXSWAIN_JOB_ID, signal }, group);
  if (config.AGENT_TIMEOUT_MS > 0) void watchAgent(running, onLeave);
  else watchPlacement(context, config.COXSWAIN_WORKER_ID, onLeave);
  if (leave.aborted) onLeave();
  leave.addEventListener("abort", onLeave, { once: true });
}

function abortOf(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true }),
  );
}

function buildTransfer({ parts, compute, compiled, fail }: Running, ledger: Ledger): Transfer {
  const { parameterFloats, slotCount } = compiled.layout;
  return new Transfer({
    clock: realClock,
    compute,
    ledger,
    membership: () => parts.group!,
    programHash: compiled.hash,
    stateFloats: parameterFloats * (1 + slotCount),
    onMismatch: () =>
      fail(new AppError("engine-mismatch", "the group runs another program or engine"), -1),
  });
}

type Me = ConstructorParameters<typeof GroupMembership>[0]["me"];

function buildCourse(
  { bus, config, compute, compiled, parts, context, end, fail, log }: Running,
  own: { readonly saver: Saver; readonly ledger: Ledger; readonly steps: number; readonly me: Me },
): Course {
  return new Course({
    ...own,
    bus,
    compute,
    farewellMs: (config.LEAVE_TIMEOUT_MS * 2) / 3,
    compiled,
    job: context.job,
    membership: () => parts.group!,
    onEnded: (reason) => end({ exitCode: 0, reason }),
    onFailed: fail,
    log,
  });
}

function buildGroup(
  running: Running,
  own: {
    readonly peers: Peers;
    readonly ledger: Ledger;
    readonly course: Course;
    readonly steps: number;
    readonly me: Me;
  },
  { areas, saver }: { readonly areas: Areas; readonly saver: Saver },
): GroupMembership {
  const { bus, config, compute, compiled, parts, context, end, fail, log } = running;
  const { shards, seed, audit, exchange, batchSize } = context.job().spec;
  const { shareable } = running.links;
  const sharing = shareable && shareMemory(shareable, areas, { ...own, log });
  if (sharing !== undefined) parts.sharing = sharing;
  const gate = new Gate(compiled.layout.metricNames);
  compute.attach(areas, saver.ends, gate.buffer);
  const vectors = vectorsOf(areas);
  own.peers.useBuffers(vectors.receiveBuffers);
  return new GroupMembership({
    ...own,
    ...(sharing && { sharing }),
    ...{ shards, batchSize, exchange, compiled, compute, gate, log },
    batchWanted: () => context.job().batchWanted,
    clock: realClock,
    vectors,
    kernels: buildKernels(areas.memory),
    record: new RecordAcceptor(bus.bucket("membership"), config.COXSWAIN_JOB_ID),
    knownDead: () => context.knownDead,
    onJoined: (generation, step) => sayOfWorker(bus, config, "joined", generation, step),
    onCommitted: (committed) => {
      commitLog(config, committed.step, committed.agoMs);
      parts.firstCommit.resolve();
      own.course.committed(committed);
    },
    mustStopBetween: (step, next) => own.course.mustStopBetween(step, next),
    trainingMax: () => trainingMaxOf(context.job()),
    onStandingBy: (generation, step) => sayOfWorker(bus, config, "standing-by", generation, step),
    onTrained: () => own.course.trained(),
    onGone: (how) => end(how === "left" ? { exitCode: 0, reason: "left" } : { exitCode: 12 }),
    onFailed: fail,
    audit: audit && { seed, everySteps: audit.everySteps },
    patienceMs: config.SLOW_AFTER_MS,
    ...supervisionEvents(bus, config, () => parts.group!),
  });
}
