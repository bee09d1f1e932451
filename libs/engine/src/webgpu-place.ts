/**
 * The engine `webgpu`: TensorFlow.js's back end of WebGPU over Dawn, Chromium's implementation of it,
 * as npm's package `webgpu` brings it. Where it lies, who it is, and which adapter it finds.
 */
import { execFile } from "node:child_process";
import { access } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import type { EngineIdentity } from "./port.ts";

export const dawnVersion = "0.6.2";
const lookTimeoutMs = 60_000;
const require = createRequire(import.meta.url);

export const webgpuFolder = (cacheDir: string) => join(cacheDir, `webgpu-${dawnVersion}`);
export const dawnPath = (cacheDir: string) => join(webgpuFolder(cacheDir), "dawn.node");

export const isWebgpuInstalled = (cacheDir: string) =>
  access(dawnPath(cacheDir)).then(
    () => true,
    () => false,
  );

/** What Dawn tells of an adapter. */
export interface Adapter {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  /** Driver and its version. */
  readonly description: string;
  /** Software, no GPU. */
  readonly isFallbackAdapter: boolean;
}

const look = `
import { createRequire } from "node:module";
const { create } = createRequire(import.meta.url)(process.argv[1]);
const adapter = await create([]).requestAdapter({ powerPreference: "high-performance" });
const { vendor, architecture, device, description, isFallbackAdapter } = adapter?.info ?? {};
console.log(JSON.stringify(adapter && { vendor, architecture, device, description, isFallbackAdapter }));
process.exit(0);
`;

/**
 * In a process of its own: drivers may crash.
 * @throws AppError `engine-unavailable` when it is not installed, cannot be loaded, or finds no adapter
 */
export async function lookForAdapter(cacheDir: string): Promise<Adapter> {
  if (!(await isWebgpuInstalled(cacheDir)))
    throw unavailable("is not installed: cox engine install webgpu");
  const args = ["--input-type=module", "-e", look, dawnPath(cacheDir)];
  const run = promisify(execFile)(process.execPath, args, { timeout: lookTimeoutMs });
  const { stdout, stderr } = await run.catch((cause: { readonly stderr?: string }) => {
    throw unavailable(`cannot be loaded: ${lastWords(cause.stderr ?? String(cause))}`);
  });
  const adapter = JSON.parse(stdout.trim().split("\n").at(-1) ?? "null") as Adapter | null;
  if (adapter !== null) return adapter;
  throw unavailable(
    `finds no adapter: no Vulkan driver is here that Dawn takes. ${lastWords(stderr)}`,
  );
}

const lastWords = (text: string) => text.trim().replaceAll(/\s+/g, " ").slice(0, 400);

const unavailable = (words: string) =>
  new AppError("engine-unavailable", `the webgpu engine ${words}`.trim());

/** Adapter and driver decide bits, and so does V8, through initialisation. */
export function webgpuIdentity(adapter: Adapter): EngineIdentity {
  const { version } = require("@tensorflow/tfjs-backend-webgpu/package.json") as {
    version: string;
  };
  const v8 = process.versions.v8.split(".").slice(0, 2).join(".");
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter;
  const who = `adapter-${slug(`${vendor} ${architecture} ${device}`)} driver-${slug(description)}`;
  const kind = isFallbackAdapter ? " software" : "";
  return {
    name: "webgpu",
    text: `webgpu dawn-${dawnVersion} tfjs-${version} kernels-1 ${who}${kind} v8-${v8}`,
  };
}

const slug = (text: string) =>
  text
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]+/g, "-")
    .replaceAll(/^-|-$/g, "");
