/** The simulated server's side, on simulated time without faults. */
import type { KV } from "@nats-io/kv";
import { randomFor } from "../../lib/random.ts";
import { Timers } from "../../lib/timers.ts";
import { portsOn } from "../client.ts";
import { Link, Network } from "../network.ts";
import { BusServer } from "../server.ts";
import { durables } from "./operations.ts";
import { readAll } from "./read-all.ts";
import { durableNames, type OpenSide, prefixed } from "./side.ts";

const longAckWaitMs = 600_000;

/** Time that goes on while somebody waits for an answer. */
class Clock {
  readonly #timers = new Timers();
  #nowMs = 0;

  nowMs = (): number => this.#nowMs;

  later = (delayMs: number, act: () => void): void => {
    this.#timers.add(this.#nowMs + delayMs, act);
  };

  async settle<Result>(answer: Promise<Result>): Promise<Result> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    answer.then(settled, settled);
    for (;;) {
      await new Promise(setImmediate);
      if (isSettled) return await answer;
      const timer = this.#timers.next();
      if (timer === undefined) throw new Error("nobody will answer");
      this.#nowMs = timer.atMs;
      timer.fire();
    }
  }
}

/** Each sequence has a server of its own. */
export const openSimulated: OpenSide = async ({ name, shape, windowMs }) => {
  const clock = new Clock();
  const server = new BusServer();
  const network = new Network({ server, clock, random: randomFor(1, "differential") });
  const { client, manager, kvm } = portsOn(new Link(network));
  const at = (subject: string) => prefixed(name, subject);
  const { maxMsgsPerSubject, maxBytes, discard } = shape;
  const stream = server.addStream({
    name,
    subjects: [at(">")],
    discard,
    duplicateWindowMs: windowMs,
    ...(maxMsgsPerSubject !== undefined && { maxMsgsPerSubject }),
    ...(maxBytes !== undefined && { maxBytes }),
  });
  for (const durable of durableNames) {
    const { filters, maxAckPending } = durables[durable];
    const ackWaitMs = longAckWaitMs;
    stream.addConsumer({ name: durable, filters: filters.map(at), ackWaitMs, maxAckPending });
  }
  const ask = async (query: { seq?: number; next_by_subj?: string; last_by_subj?: string }) =>
    (await clock.settle(manager.streams.getMessage(name, query as never)))?.seq;
  return {
    publish: async (subject, text, { id, expect }) => {
      const { seq, duplicate } = await clock.settle(
        client.publish(at(subject), text, {
          ...(id !== undefined && { msgID: id }),
          ...(expect !== undefined && { expect: { lastSubjectSequence: expect } }),
        }),
      );
      return { seq, duplicate };
    },
    last: (subject) => ask({ last_by_subj: at(subject) }),
    next: (seq, subject) => ask({ seq, next_by_subj: at(subject) }),
    read: (from, subjects) =>
      clock.settle(
        readAll(client, { stream: name, prefix: at(""), from, filters: subjects.map(at) }),
      ),
    pull: async (durable) => {
      const consumer = stream.consumers.get(durable)!;
      const taken = consumer.take(clock.nowMs());
      if (taken === undefined) return undefined;
      const { seq } = taken.message;
      return {
        ...{ seq, deliveries: taken.deliveries },
        ack: async () => consumer.ack(seq),
        nak: async (ms) => consumer.nak(seq, clock.nowMs(), ms),
        term: async () => consumer.ack(seq),
        working: async () => consumer.working(seq, clock.nowMs()),
      };
    },
    pending: async (durable) => {
      const { numPending, ackPending } = stream.consumers.get(durable)!;
      return [numPending, ackPending];
    },
    purge: async (subject) =>
      stream.purge(subject === undefined ? ">" : at(subject), clock.nowMs()),
    remove: async (seq) => stream.deleteMessage(seq),
    addDurable: async (durable, ackWaitMs) =>
      void stream.addConsumer({ name: durable, filters: [">"], ackWaitMs, maxAckPending: 1000 }),
    pass: (ms) => clock.settle(new Promise<void>((resolve) => clock.later(ms, resolve))),
    bucket: async () => settling(clock, await clock.settle(kvm.create(name))),
    close: async () => undefined,
  };
};

/** The bucket's calls, with time going on until they are answered. */
function settling(clock: Clock, kv: KV): KV {
  return new Proxy(kv, {
    get(target, key) {
      const method = Reflect.get(target, key) as
        | ((...given: unknown[]) => Promise<unknown>)
        | undefined;
      if (method === undefined) return undefined;
      return (...given: unknown[]) => clock.settle(method.apply(target, given));
    },
  });
}
