/**
 * What an installation does about the token that the bus asks for. Workers that run without one would
 * lose the log for good as soon as nats-server asks: they must have stopped before.
 */

export interface TokenSeen {
  readonly hasToken: boolean;
  /** Workers' Pods that have not ended. */
  readonly workers: readonly string[];
}

export type TokenStep =
  | { readonly kind: "keep" }
  | { readonly kind: "make" }
  | { readonly kind: "refuse"; readonly reason: string };

export function decideToken({ hasToken, workers }: TokenSeen): TokenStep {
  if (hasToken) return { kind: "keep" };
  if (workers.length === 0) return { kind: "make" };
  const reason = `workers run that have no token for the bus (${workers.join(", ")}): let their jobs end, or \`cox uninstall\` first, which suspends them and keeps everything`;
  return { kind: "refuse", reason };
}
