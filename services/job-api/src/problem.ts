/** Errors as RFC 9457 problem details: the one place where a code becomes a status. */
import { AppError } from "@coxswain/domain";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  /** What the reader can do. */
  readonly fix: string;
  readonly violations?: readonly { readonly pointer: string; readonly detail: string }[];
}

const retryAfterSeconds = 1;

export function problemOf(error: AppError): Problem {
  const { violations } = error.details as { violations?: Problem["violations"] };
  return {
    type: `https://coxswain.dev/problems/${error.code}`,
    title: error.code.replaceAll("-", " "),
    status: error.status,
    detail: error.sentence,
    code: error.code,
    fix: error.fix,
    ...(violations === undefined ? {} : { violations }),
  };
}

/** What Fastify itself refuses, in our words. */
function ownError(error: FastifyError): AppError | undefined {
  const status = error.statusCode ?? 500;
  if (error.code === "FST_ERR_CTP_BODY_TOO_LARGE" || status === 413)
    return new AppError("too-large", error.message);
  if (error.code === "FST_ERR_CTP_INVALID_MEDIA_TYPE" || status === 415)
    return new AppError("unsupported-media-type", error.message);
  if (error.validation !== undefined) {
    const violations = error.validation.map(({ instancePath, message }) => ({
      pointer: instancePath,
      detail: message ?? "",
    }));
    return new AppError("invalid-request", error.message, { details: { violations } });
  }
  return status >= 400 && status < 500 ? new AppError("invalid-request", error.message) : undefined;
}

export function handleError(
  error: FastifyError | AppError,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const known = error instanceof AppError ? error : ownError(error);
  if (known === undefined) request.log.error({ err: error }, "request failed");
  const problem: Problem =
    known === undefined
      ? {
          type: "about:blank",
          title: "internal error",
          status: 500,
          detail: "The request failed; the service's log has the reason.",
          code: "internal",
          fix: "Try again; if it stays, read the log of job-api.",
        }
      : problemOf(known);
  if (problem.status === 503) void reply.header("retry-after", String(retryAfterSeconds));
  void reply.code(problem.status).type("application/problem+json").send(problem);
}
