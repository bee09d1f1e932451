/** The program that a compute thread is given, and what the thread needs besides. */
import { once } from "node:events";
import type { MessagePort } from "node:worker_threads";
import { type CompiledProgram, canRecord, openEngine, openRecordedEngine } from "@coxswain/engine";
import { type Bells, openSharedMemory } from "@coxswain/shared-memory";
import type { Feed } from "../feed/feed.ts";
import type { ComputeOptions, ProgramMessage } from "./compute-messages.ts";

export interface Opened {
  readonly identity: string;
  readonly program: CompiledProgram;
  /** Undefined where memory cannot be shared. */
  readonly bells: Bells | undefined;
}

/** What a recorded program needs besides is opened while somebody still compiles it. */
export async function openInThread(
  port: MessagePort,
  feed: Feed,
  { engine: name, settings, gpu, cacheDir, ...options }: ComputeOptions,
  onRecording: () => void,
): Promise<Opened> {
  const compile = { ...options.compile, openData: () => Promise.resolve(feed.open()) };
  const recorded = once(port, "message").then(([message]) => (message as ProgramMessage).recorded);
  const bells = await openSharedMemory(cacheDir);
  if (canRecord(name)) {
    const engine = await openRecordedEngine(name, { cacheDir, ...settings, gpu });
    const program = await engine.open(recorded, compile);
    if (program !== undefined) return { identity: engine.identity.text, program, bells };
  }
  await recorded;
  const engine = await openEngine(name, { cacheDir, ...settings, gpu });
  const program = await engine.compile({ ...compile, onRecording }, "eager");
  return { identity: engine.identity.text, program, bells };
}
