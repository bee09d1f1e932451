/**
 * Every expected failure has a code. This table is the only place where a code gets its HTTP
 * status, whether a retry may help, and what the reader should do. Anything that is not an
 * `AppError` is a bug: it crashes the process, or answers 500 with a fixed text.
 */
export const errorCodes = {
  "invalid-id": {
    status: 400,
    retryable: false,
    fix: "Use lower-case letters, digits and dashes, at most 63 characters.",
  },
  "invalid-spec": {
    status: 422,
    retryable: false,
    fix: "Mend the named fields; the JSON Schema is at /v1/schemas/training-job.",
  },
  "invalid-request": {
    status: 400,
    retryable: false,
    fix: "Mend the named fields; the API is described at /openapi.json.",
  },
  "unsupported-media-type": {
    status: 415,
    retryable: false,
    fix: "Send application/json or application/yaml.",
  },
  "too-large": { status: 413, retryable: false, fix: "Send less than the limit in the message." },
  "job-not-found": { status: 404, retryable: false, fix: "List the jobs with `cox jobs`." },
  "program-not-found": {
    status: 422,
    retryable: false,
    fix: "Upload the bundle first: PUT /v1/programs/{sha256}.",
  },
  "program-invalid": {
    status: 422,
    retryable: false,
    fix: "The default export of the program must come from defineProgram().",
  },
  "checkpoint-not-found": {
    status: 404,
    retryable: false,
    fix: "List the checkpoints with `cox checkpoints JOB`.",
  },
  "model-not-ready": {
    status: 409,
    retryable: false,
    fix: "Wait until the job has succeeded: `cox show JOB`.",
  },
  "model-damaged": {
    status: 500,
    retryable: false,
    fix: "Download the model again: `cox model JOB -o DIR`.",
  },
  "illegal-move": {
    status: 409,
    retryable: false,
    fix: "Look at the job's state with `cox show JOB`.",
  },
  "idempotency-mismatch": {
    status: 422,
    retryable: false,
    fix: "Use a new Idempotency-Key for a new request.",
  },
  "idempotency-in-progress": { status: 409, retryable: true, fix: "Ask again in a moment." },
  conflict: {
    status: 409,
    retryable: true,
    fix: "Somebody else changed the job in between; ask again.",
  },
  "stale-generation": {
    status: 409,
    retryable: false,
    fix: "Join again with the newer generation.",
  },
  "stale-epoch": {
    status: 409,
    retryable: false,
    fix: "Another holder of the lease has taken over.",
  },
  "no-capacity": { status: 503, retryable: true, fix: "Add nodes, ask for less, or wait." },
  "bus-unavailable": {
    status: 503,
    retryable: true,
    fix: "Check that nats-server runs: `cox doctor`.",
  },
  "bus-too-old": {
    status: 500,
    retryable: false,
    fix: "Use nats-server 2.10 or newer: `npm run setup`.",
  },
  "bus-full": {
    status: 503,
    retryable: true,
    fix: "The event log has reached its limit: free space or raise the limit.",
  },
  "message-too-large": {
    status: 413,
    retryable: false,
    fix: "Events are small facts; put bytes into the store.",
  },
  overloaded: { status: 503, retryable: true, fix: "Ask again after the time in Retry-After." },
  "store-full": { status: 503, retryable: true, fix: "Free disk space in the checkpoint store." },
  "store-failed": {
    status: 503,
    retryable: true,
    fix: "Check the checkpoint store's folder and its permissions.",
  },
  "store-slow": {
    status: 503,
    retryable: true,
    fix: "Write checkpoints less often (spec.checkpoint), or use a faster store.",
  },
  "invalid-path": {
    status: 400,
    retryable: false,
    fix: "Name files by relative paths of letters, digits, dots, dashes and underscores.",
  },
  "checkpoint-damaged": {
    status: 500,
    retryable: false,
    fix: "A restart uses the one before it; `cox checkpoints JOB --verify` names what is damaged. Look at the disk.",
  },
  "checkpoint-mismatch": {
    status: 422,
    retryable: false,
    fix: "Begin with a program of the same parameters and optimizer, and the same data; or without spec.from.",
  },
  "dataset-invalid": {
    status: 422,
    retryable: false,
    fix: "Mend the dataset's folder; docs/dataset-format.md says what belongs there.",
  },
  "record-damaged": {
    status: 500,
    retryable: false,
    fix: "Restore the named file, or write the dataset again: `cox dataset-pack`.",
  },
  "engine-unavailable": {
    status: 503,
    retryable: false,
    fix: "Install it with `cox engine install native`, or use engine: auto.",
  },
  "engine-mismatch": {
    status: 409,
    retryable: false,
    fix: "All workers of a job need the same engine, version and settings.",
  },
  "program-threw": {
    status: 500,
    retryable: false,
    fix: "Read the first error with `cox show JOB` and the log with `cox logs JOB`.",
  },
  "program-stuck": {
    status: 500,
    retryable: false,
    fix: "A step took longer than stepTimeout; raise it or mend the program.",
  },
  "peer-slow": {
    status: 500,
    retryable: false,
    fix: "Look at the named worker's machine and network, and drain it; or raise stepTimeout.",
  },
  "loss-not-finite": {
    status: 500,
    retryable: false,
    fix: "Lower the learning rate, or look for a division by zero or a log of zero.",
  },
  "out-of-memory": {
    status: 500,
    retryable: false,
    fix: "Ask for more memory per worker, or use a smaller batch.",
  },
  "worker-failed": {
    status: 500,
    retryable: true,
    fix: "Read the worker's log: `cox logs JOB --worker W`.",
  },
  "peer-refused": {
    status: 403,
    retryable: false,
    fix: "The peer does not know the job's secret.",
  },
  "peer-timeout": { status: 503, retryable: true, fix: "Check the network between the workers." },
  "time-limit": {
    status: 500,
    retryable: false,
    fix: "Raise spec.timeLimit and submit again, or resume from the last checkpoint.",
  },
  "port-in-use": {
    status: 500,
    retryable: false,
    fix: "Choose another port, or stop the program that holds it.",
  },
  "kubernetes-unavailable": {
    status: 503,
    retryable: true,
    fix: "Check that the Kubernetes API server answers: `kubectl get --raw /readyz`.",
  },
  "kubernetes-expired": {
    status: 503,
    retryable: true,
    fix: "The place in a watch is too old; list again.",
  },
  "kubernetes-refused": {
    status: 500,
    retryable: false,
    fix: "Check permissions, quotas and policies: `cox install --check`.",
  },
  "setup-failed": {
    status: 500,
    retryable: false,
    fix: "Read the message; `cox doctor` checks each part.",
  },
  "file-not-found": {
    status: 400,
    retryable: false,
    fix: "Name a file that is there, as seen from this folder, such as examples/mnist/mlp.yaml.",
  },
  "service-down": {
    status: 500,
    retryable: false,
    fix: "Read the log that is named, mend the cause, and start the platform again with `cox up`.",
  },
  "invalid-config": { status: 500, retryable: false, fix: "Mend the named environment variables." },
} as const satisfies Record<string, { status: number; retryable: boolean; fix: string }>;

export type ErrorCode = keyof typeof errorCodes;

/** An error that another thread or process told, in its own words. */
export interface ToldError {
  readonly code: string;
  readonly message: string;
}

export interface AppErrorOptions {
  readonly cause?: unknown;
  /** Machine-readable facts about the failure: never parse them from the message. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** An expected failure: its code decides the HTTP status, the bus verdict and the advice. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, sentence: string, options: AppErrorOptions = {}) {
    super(`[${code}] ${sentence}`, options.cause === undefined ? {} : { cause: options.cause });
    this.name = "AppError";
    this.code = code;
    this.details = options.details ?? {};
  }

  /** The message without the code that it starts with. */
  get sentence(): string {
    return this.message.replace(/^\[[a-z-]+\] /, "");
  }

  get status(): number {
    return errorCodes[this.code].status;
  }

  get retryable(): boolean {
    return errorCodes[this.code].retryable;
  }

  /** One sentence on what the reader can do. */
  get fix(): string {
    return errorCodes[this.code].fix;
  }
}

/** The told error as one of ours; a code that is not known becomes `otherwise`. */
export function reviveError({ code, message }: ToldError, otherwise: ErrorCode): AppError {
  const known = code in errorCodes ? (code as ErrorCode) : otherwise;
  return new AppError(known, message.replace(/^\[[a-z-]+\] /, ""));
}
