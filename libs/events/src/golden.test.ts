import { deepEqual, equal } from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { JobFact } from "@coxswain/domain";
import fc from "fast-check";
import { decodeEvent, eventNames, type RawMessage, type StoredEvent } from "./index.ts";

const folder = join(import.meta.dirname, "../golden");

interface Golden {
  readonly subject: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: unknown;
}

/** Compiles only while the fold of the domain reads every event of the table. */
export const factOf = (event: StoredEvent): JobFact => event;

function messageOf(golden: Golden, body = JSON.stringify(golden.payload)): RawMessage {
  return {
    subject: golden.subject,
    sequence: 7,
    timeMs: 1,
    header: (name) => golden.headers[name],
    body: new TextEncoder().encode(body),
  };
}

const read = (file: string): Golden => JSON.parse(readFileSync(join(folder, file), "utf8"));

test("every event of the table has a golden file, and no golden file lacks an event", () => {
  deepEqual(readdirSync(folder).sort(), eventNames.map((name) => `${name}.v1.json`).sort());
});

for (const name of eventNames) {
  test(`${name} is read as it was once written`, () => {
    const golden = read(`${name}.v1.json`);
    const decoded = decodeEvent(messageOf(golden));
    equal(decoded.kind, "event", JSON.stringify(decoded));
    if (decoded.kind !== "event") return;
    equal(decoded.event.name, name);
    deepEqual(decoded.event.payload, golden.payload);
    equal(decoded.event.id, golden.headers["ce-id"]);
    equal(decoded.event.traceparent, golden.headers["traceparent"]);
  });
}

const placed = read("job.placed.v1.json");
const foreign: Record<string, RawMessage> = {
  "an unknown type": messageOf({ ...placed, headers: { ...placed.headers, "ce-type": "x" } }),
  "a later version": messageOf({
    ...placed,
    headers: { ...placed.headers, "ce-type": "dev.coxswain.job.placed.v2" },
  }),
  "a name of Object's prototype": messageOf({
    ...placed,
    headers: { ...placed.headers, "ce-type": "dev.coxswain.constructor.v1" },
  }),
  "another entity's subject": messageOf({ ...placed, subject: "evt.v1.worker.mnist-000001" }),
  "an unknown source": messageOf({ ...placed, headers: { ...placed.headers, "ce-source": "/x" } }),
  "a payload that breaks its schema": messageOf({ ...placed, payload: { epoch: 0 } }),
  "a body that is no JSON": messageOf(placed, "{"),
};
for (const [name, message] of Object.entries(foreign))
  test(`${name} is foreign, with a reason`, () => equal(decodeEvent(message).kind, "foreign"));

test("no bytes and headers make decoding throw", () => {
  const types = fc.oneof(
    fc.string(),
    fc.constantFrom(...eventNames).map((name) => `dev.coxswain.${name}.v1`),
  );
  fc.assert(
    fc.property(types, fc.string(), fc.uint8Array(), (type, subject, body) => {
      const header = (name: string) => (name === "ce-type" ? type : undefined);
      equal(decodeEvent({ subject, sequence: 1, timeMs: 1, header, body }).kind, "foreign");
    }),
  );
});
