/**
 * Resources as vectors.
 *
 * Inside, amounts are whole thousandths (`Units`): sums of fractions of a core are then exact, so
 * that taking and giving back in any order leaves the same numbers, and the same decisions.
 */
import type { Quota, Resources } from "@coxswain/domain";

export const resourceNames = [
  "cpu",
  "memoryMib",
  "gpu",
  "gpuMemoryMib",
  "diskMibps",
  "networkMibps",
] as const;
export type ResourceName = (typeof resourceNames)[number];

/** What is not named is 0. */
export type Amounts = { readonly [Name in ResourceName]?: number | undefined };
export type Vector = Amounts & {
  readonly cpu: number;
  readonly memoryMib: number;
  readonly gpu: number;
};

/** Thousandths, in the order of `resourceNames`. */
export type Units = readonly number[];
export const noUnits: Units = resourceNames.map(() => 0);
export const scale = 1000;
export const cpuIndex = 0;
export const memoryIndex = 1;
export const gpuIndex = 2;
export const gpuMemoryIndex = 3;

export function unitsOf(amounts: Amounts): Units {
  return resourceNames.map((name) => Math.round((amounts[name] ?? 0) * scale));
}

/** What one worker, or one replica, takes. A job names the memory of each GPU; the sum counts. */
export function vectorOf(resources: Resources): Vector {
  return {
    cpu: resources.cpu,
    memoryMib: resources.memory,
    gpu: resources.gpu,
    gpuMemoryMib: resources.gpu * (resources.gpuMemory ?? 0),
    diskMibps: resources.diskIo ?? 0,
    networkMibps: resources.network ?? 0,
  };
}

const quotaNames = ["cpu", "memory", "gpu", "gpuMemory", "diskIo", "network"] as const;

/** A quota in units; a resource that it does not name gets `otherwise`. */
export function quotaUnits(quota: Quota | undefined, otherwise: number): Units {
  return quotaNames.map((name) => {
    const amount = quota?.[name];
    return amount === undefined ? otherwise : Math.round(amount * scale);
  });
}

/** The field of a quota that limits this resource. */
export function quotaName(index: number): (typeof quotaNames)[number] {
  return quotaNames[index]!;
}

export function times(units: Units, count: number): Units {
  return units.map((one) => one * count);
}

export function sum(a: Units, b: Units): Units {
  return a.map((one, index) => one + b[index]!);
}

export function isWithin(need: Units, free: Units): boolean {
  for (let index = 0; index < need.length; index += 1)
    if (need[index]! > free[index]!) return false;
  return true;
}

/** `2 cores, 64 MiB, 1 GPUs of 16384 MiB`: what a person reads. */
export function textOf(units: Units): string {
  const [cpu, memory, gpu, gpuMemory, disk, network] = units.map((one) => one / scale) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const each = gpu > 0 && gpuMemory > 0 ? ` of ${Math.round(gpuMemory / gpu)} MiB` : "";
  const parts = [`${cpu} cores`, `${memory} MiB`];
  if (gpu > 0) parts.push(`${gpu} GPUs${each}`);
  if (disk > 0) parts.push(`${disk} MiB/s of disk`);
  if (network > 0) parts.push(`${network} MiB/s of network`);
  return parts.join(", ");
}
