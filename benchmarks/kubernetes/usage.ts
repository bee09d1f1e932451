/** What a process has used since it started. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly memoryMib: number;
  readonly memoryMibMax: number;
  /** To the API server, by verb. */
  readonly requests: Readonly<Record<string, number>>;
}

export function used(before: Usage, after: Usage) {
  const verbs = Object.keys(after.requests);
  return {
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    requests: Object.fromEntries(
      verbs.map((verb) => [verb, after.requests[verb]! - (before.requests[verb] ?? 0)]),
    ),
  };
}

export const written = (requests: Readonly<Record<string, number>>) =>
  Object.entries(requests)
    .filter(([, count]) => count > 0)
    .map(([verb, count]) => `${count} ${verb}`)
    .join(", ") || "none";
