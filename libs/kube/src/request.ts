/**
 * One request to the API server. The library brings the ways to be somebody (files, tokens that are
 * renewed, certificates, plugins); objects stay what they are on the wire: the library's typed calls
 * make dates of some of them and drop the kind of those in lists.
 */
import { AppError, type ErrorCode } from "@coxswain/domain";
import { HttpMethod, type KubeConfig, RequestContext } from "@kubernetes/client-node";
import { type Dispatcher, fetch, type Response } from "undici";

export interface Request {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** From the root, with its query. */
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

export type Send = (request: Request) => Promise<Response>;

const requestTimeoutMs = 30_000;
/** Certificates are renewed while we run: connections are made anew after so long. */
const connectionsMsMax = 300_000;

/** Answers with any status; only a server that cannot be reached throws (`kubernetes-unavailable`). */
export function buildSend(config: KubeConfig): Send {
  const server = config.getCurrentCluster()?.server;
  if (server === undefined)
    throw new AppError("invalid-config", "the kubeconfig names no present cluster");
  const connections = new Connections();
  return async ({ method, path, body, contentType = "application/json", signal }) => {
    const url = new URL(path, server);
    const context = new RequestContext(url.toString(), HttpMethod.GET);
    const timeout = signal ?? AbortSignal.timeout(requestTimeoutMs);
    try {
      // Each time anew: a ServiceAccount's token is renewed while we run.
      await config.applySecurityAuthentication(context);
      const dispatcher = connections.instead(context.getDispatcher() as Dispatcher | undefined);
      return await fetch(url, {
        method,
        headers: {
          ...context.getHeaders(),
          accept: "application/json",
          "content-type": contentType,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(dispatcher === undefined ? {} : { dispatcher }),
        signal: timeout,
      });
    } catch (cause) {
      if (signal?.aborted !== true) connections.forget();
      const sentence = `${method} ${url.pathname}: ${reasonOf(cause)}`;
      throw new AppError("kubernetes-unavailable", sentence, { cause });
    }
  };
}

/** The library makes others for each request, with a handshake each: they are kept instead. */
class Connections {
  #kept: Dispatcher | undefined;
  #sinceMs = 0;

  /** Those that are kept, or `offered` from now on. */
  instead(offered: Dispatcher | undefined): Dispatcher | undefined {
    if (performance.now() - this.#sinceMs > connectionsMsMax) this.forget();
    if (this.#kept === undefined) this.#sinceMs = performance.now();
    this.#kept ??= offered;
    return this.#kept;
  }

  /** What is on its way through them ends as it may. */
  forget(): void {
    // Closed already, or broken: there is nothing left to close.
    void this.#kept?.close().catch(() => undefined);
    this.#kept = undefined;
  }
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return cause instanceof Error ? cause.message : String(cause);
}

/** The server's own word on why not. */
export interface Status {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
}

const codeOf = ({ code, reason }: Status): ErrorCode => {
  if (reason === "Conflict" || reason === "AlreadyExists") return "conflict";
  if (reason === "Expired" || reason === "Gone") return "kubernetes-expired";
  // Too many requests, time-outs, a server that starts or stops.
  if (code === 429 || code >= 500) return "kubernetes-unavailable";
  return "kubernetes-refused";
};

/** The body of a good answer; a bad one throws what it says. */
export async function bodyOf<Body>(response: Response, what: string): Promise<Body> {
  const text = await response.text();
  if (response.ok) return JSON.parse(text) as Body;
  throw errorOf(statusOf(response.status, text), what);
}

function statusOf(code: number, text: string): Status {
  try {
    const { reason = "", message = text } = JSON.parse(text) as Partial<Status>;
    return { code, reason, message };
  } catch {
    return { code, reason: "", message: text.slice(0, 500) }; // A proxy's answer, not the server's.
  }
}

export function errorOf(status: Status, what: string): AppError {
  const details = { status: status.code, reason: status.reason };
  return new AppError(codeOf(status), `${what}: ${status.message}`, { details });
}
