/** The GPUs of this machine, as NVIDIA's driver tells them. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

export interface Gpu {
  readonly index: number;
  /** Names the device wherever it is asked for, also after others were added. */
  readonly uuid: string;
  readonly model: string;
  /** 0 where the driver does not say: the GPU shares the machine's memory. */
  readonly memoryMib: number;
  readonly driver: string;
}

const fields = ["index", "uuid", "name", "memory.total", "driver_version"];
const timeoutMs = 10_000;
const gpusMax = 64;

/** Runs a program, gives what it prints. */
export type RunProgram = (program: string, args: readonly string[]) => Promise<string>;

/**
 * None where there is no `nvidia-smi`: then there is no driver that could use one.
 * @throws Error in the words of `nvidia-smi` when it fails
 */
export async function lookForGpus(run: RunProgram = runProgram): Promise<readonly Gpu[]> {
  const args = [`--query-gpu=${fields.join()}`, "--format=csv,noheader,nounits"];
  try {
    return parseGpus(await run("nvidia-smi", args));
  } catch (cause) {
    const { code, stdout = "", message } = cause as NodeJS.ErrnoException & { stdout?: string };
    if (code === "ENOENT") return [];
    const words = stdout.trim() || message;
    throw new Error(`nvidia-smi cannot say which GPUs there are: ${words}`, { cause });
  }
}

const runProgram: RunProgram = async (program, args) => {
  const { stdout } = await promisify(execFile)(program, args, { timeout: timeoutMs });
  return stdout;
};

/** What `nvidia-smi` printed for `fields`, a line for each GPU; lines that say something else are left out. */
export function parseGpus(text: string): Gpu[] {
  return text.split("\n").flatMap(gpuOf).slice(0, gpusMax);
}

function gpuOf(line: string): Gpu[] {
  const parts = line.split(",").map((part) => part.trim());
  if (parts.length !== fields.length) return [];
  const [index, uuid, model, memory, driver] = parts as [string, string, string, string, string];
  if (!/^\d+$/.test(index) || !uuid.startsWith("GPU-")) return [];
  const memoryMib = /^\d+$/.test(memory) ? Number(memory) : 0;
  return [{ index: Number(index), uuid, model, memoryMib, driver }];
}

/** Those that a process sees whose CUDA_VISIBLE_DEVICES is this; undefined: all. */
export function visibleOf(gpus: readonly Gpu[], visible: string | undefined): readonly Gpu[] {
  if (visible === undefined) return gpus;
  return visible
    .split(",")
    .flatMap((id) => gpus.filter(({ uuid, index }) => id === uuid || id === String(index)));
}
