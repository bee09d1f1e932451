/** The HTTP API as functions. Errors carry the code, the fix and the violations that the API named. */
import { randomUUID } from "node:crypto";

export interface ProblemDetails {
  readonly code: string;
  readonly detail: string;
  readonly status: number;
  readonly fix?: string;
  readonly violations?: readonly { readonly pointer: string; readonly detail: string }[];
}

export class ApiError extends Error {
  readonly problem: ProblemDetails;

  constructor(problem: ProblemDetails, options?: ErrorOptions) {
    super(problem.detail, options);
    this.name = "ApiError";
    this.problem = problem;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: answers are read where they are shown, by the names of the API
export type Json = any;

const requestTimeoutMs = 30_000;

export class ApiClient {
  readonly url: string;

  constructor(url: string) {
    this.url = url.replace(/\/$/, "");
  }

  async #fetch(path: string, init: RequestInit = {}): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${this.url}${path}`, {
        signal: AbortSignal.timeout(requestTimeoutMs),
        ...init,
      });
    } catch (cause) {
      const detail = `no platform answers at ${this.url}`;
      const fix = "Start one with `cox up`, or name one with --api.";
      throw new ApiError({ code: "unreachable", detail, status: 0, fix }, { cause });
    }
    if (response.ok) return response;
    const problem = (await response.json().catch(() => undefined)) as ProblemDetails | undefined;
    throw new ApiError(
      problem ?? {
        code: "unknown",
        detail: `${init.method ?? "GET"} ${path} answered ${response.status}`,
        status: response.status,
      },
    );
  }

  async get(path: string): Promise<Json> {
    return (await this.#fetch(path)).json();
  }

  async send(
    method: "POST" | "PATCH" | "PUT",
    path: string,
    body?: unknown,
    { timeoutMs = requestTimeoutMs }: { readonly timeoutMs?: number } = {},
  ): Promise<Json> {
    const signal = AbortSignal.timeout(timeoutMs);
    const init: RequestInit =
      body === undefined
        ? { method, signal }
        : {
            method,
            signal,
            body: JSON.stringify(body),
            headers: { "content-type": "application/json" },
          };
    return (await this.#fetch(path, init)).json();
  }

  async upload(sha256: string, bytes: Uint8Array): Promise<void> {
    await this.#fetch(`/v1/programs/${sha256}`, {
      method: "PUT",
      body: Buffer.from(bytes),
      headers: { "content-type": "application/octet-stream" },
    });
  }

  async submit(job: unknown, idempotencyKey: string = randomUUID()): Promise<Json> {
    const headers = { "content-type": "application/json", "idempotency-key": idempotencyKey };
    return (
      await this.#fetch("/v1/jobs", { method: "POST", body: JSON.stringify(job), headers })
    ).json();
  }

  async bytes(path: string): Promise<Uint8Array> {
    return new Uint8Array(await (await this.#fetch(path)).arrayBuffer());
  }

  /** A body that goes on for as long as it likes. */
  async stream(
    path: string,
    signal: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<ReadableStream<Uint8Array>> {
    const response = await this.#fetch(path, { signal, headers });
    return response.body as ReadableStream<Uint8Array>;
  }
}
