/**
 * Ids are branded strings, so that a node's id never passes for a job's.
 *
 * Every id is one token of a subject and one segment of a path: lower-case letters, digits and
 * dashes, at most 63 characters (RFC 1123 labels, as Kubernetes names are).
 */
import { AppError } from "./errors.ts";

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type JobId = Branded<"JobId">;
export type WorkerId = Branded<"WorkerId">;
export type NodeId = Branded<"NodeId">;

/** What an id may look like; also used as the JSON Schema pattern of names. */
export const idPattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const idRegExp = new RegExp(idPattern);

/** @throws AppError `invalid-id` when the text is not one RFC 1123 label. */
export function parseJobId(text: string): JobId {
  return parseId(text, "job") as JobId;
}

/** @throws AppError `invalid-id` */
export function parseWorkerId(text: string): WorkerId {
  return parseId(text, "worker") as WorkerId;
}

/** @throws AppError `invalid-id` */
export function parseNodeId(text: string): NodeId {
  return parseId(text, "node") as NodeId;
}

function parseId(text: string, what: string): string {
  if (idRegExp.test(text)) return text;
  throw new AppError(
    "invalid-id",
    `${what} id ${JSON.stringify(text.slice(0, 80))} is not a name`,
    {
      details: { what },
    },
  );
}
