/** What the server's error codes mean to us: the only place that knows their numbers. */
import { AppError } from "@coxswain/domain";
import { JetStreamApiError } from "@nats-io/jetstream";

/** Wrong last sequence; 10164 is what replicated streams answer from nats-server 2.12 on. */
const conflictCodes: readonly number[] = [10071, 10164];
/** Storage limits: of the account, of the store, of the stream. */
const fullCodes: readonly number[] = [10023, 10047, 10077, 10122, 10109];

export function isConflict(error: unknown): boolean {
  return error instanceof JetStreamApiError && conflictCodes.includes(error.code);
}

export function isFull(error: unknown): boolean {
  return (
    error instanceof JetStreamApiError &&
    (fullCodes.includes(error.code) ||
      /maximum (bytes|messages) exceeded|insufficient (storage|resources)/i.test(error.message))
  );
}

/** Turns what the client throws into an expected failure. */
export function busError(error: unknown, what: string): AppError {
  if (error instanceof AppError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (isConflict(error))
    return new AppError("conflict", `${what}: somebody else wrote first`, { cause: error });
  if (isFull(error)) return new AppError("bus-full", `${what}: ${message}`, { cause: error });
  return new AppError("bus-unavailable", `${what}: ${message}`, { cause: error });
}
