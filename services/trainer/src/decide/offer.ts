/** What a node offers the scheduler, of what it has. */
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

/** `key=value,key=value`; what has no key is left out. */
export function labelsOf(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(",").map((pair) => pair.trim().split("=") as [string, string?]);
  return Object.fromEntries(
    pairs.filter(([key]) => key !== "").map(([key, value = ""]) => [key, value]),
  );
}
