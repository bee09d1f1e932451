/** What a node offers the scheduler, of what it has. */
import type { Gpu } from "@coxswain/engine";

export interface Offer {
  readonly cpu: number;
  readonly memoryMib: number;
}

export interface Machine {
  readonly cores: number;
  readonly memoryBytes: number;
  /** The container's limit; 0, or more than there is, when nothing limits it. */
  readonly memoryLimitBytes: number;
}

const mebibyte = 1024 * 1024;
const offeredPart = 0.9;

/** The settings where they are not 0; else all cores, and nine tenths of the memory that may be used. */
export function offerOf(settings: Offer, machine: Machine): Offer {
  const { cores, memoryBytes, memoryLimitBytes } = machine;
  const usableBytes = memoryLimitBytes > 0 ? Math.min(memoryBytes, memoryLimitBytes) : memoryBytes;
  return {
    cpu: settings.cpu || cores,
    memoryMib: settings.memoryMib || Math.floor((usableBytes / mebibyte) * offeredPart),
  };
}

export interface GpuOffer {
  readonly gpu: number;
  /** Of all of them together, as if each had what the smallest has. */
  readonly gpuMemoryMib: number;
  /** Ids of those that workers are given; undefined: nobody knows them. */
  readonly devices: readonly string[] | undefined;
}

/**
 * @param settings GPUs to offer, -1 for all; memory of each in MiB, 0 for what they say
 * @param found those that the driver tells
 */
export function gpuOfferOf(
  settings: { readonly gpu: number; readonly memoryMib: number },
  found: readonly Pick<Gpu, "uuid" | "memoryMib">[],
): GpuOffer {
  if (found.length === 0) {
    const gpu = Math.max(0, settings.gpu);
    return { gpu, gpuMemoryMib: gpu * settings.memoryMib, devices: undefined };
  }
  const offered = settings.gpu < 0 ? found : found.slice(0, settings.gpu);
  const smallestMib = Math.min(...offered.map(({ memoryMib }) => memoryMib));
  return {
    gpu: offered.length,
    gpuMemoryMib: offered.length === 0 ? 0 : offered.length * (settings.memoryMib || smallestMib),
    devices: offered.map(({ uuid }) => uuid),
  };
}

/** `key=value,key=value`; what has no key is left out. */
export function labelsOf(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(",").map((pair) => pair.trim().split("=") as [string, string?]);
  return Object.fromEntries(
    pairs.filter(([key]) => key !== "").map(([key, value = ""]) => [key, value]),
  );
}
