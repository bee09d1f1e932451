import { equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { unlessReconnected } from "./reconnect.ts";

function connection() {
  const listeners = new Set<() => void>();
  const onReconnect = (listener: () => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  return { listeners, onReconnect };
}

test("an answer that comes over one connection is given", async () => {
  const { listeners, onReconnect } = connection();
  equal(await unlessReconnected(onReconnect, Promise.resolve(7)), 7);
  await rejects(unlessReconnected(onReconnect, Promise.reject(new Error("no"))), /no/);
  equal(listeners.size, 0);
});

test("an answer whose connection was lost is not waited for", async () => {
  const { listeners, onReconnect } = connection();
  const never = Promise.withResolvers<number>().promise;
  const answer = unlessReconnected(onReconnect, never);
  for (const listener of listeners) listener();
  await rejects(answer, { code: "bus-unavailable" });
  equal(listeners.size, 0);
});
