/** Pieces of JSON Schema that several routes share. */

import { idPattern } from "@coxswain/domain";

const problem = {
  type: "object",
  description: "RFC 9457 problem details",
  additionalProperties: true,
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    code: { type: "string" },
    fix: { type: "string", description: "What the reader can do" },
    violations: {
      type: "array",
      items: {
        type: "object",
        properties: { pointer: { type: "string" }, detail: { type: "string" } },
      },
    },
  },
} as const;

export function problems(...statuses: readonly number[]) {
  return Object.fromEntries(statuses.map((status) => [status, problem]));
}

export const jobParams = {
  type: "object",
  required: ["id"],
  properties: { id: { type: "string", minLength: 1, maxLength: 63 } },
} as const;
export const nameParams = {
  type: "object",
  required: ["name"],
  properties: { name: { type: "string", pattern: idPattern } },
} as const;
export const anyObject = { type: "object", additionalProperties: true } as const;
