/** The real nats-server's side. A pull is one request that says soon whether there is something. */
import { setTimeout as delay } from "node:timers/promises";
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  jetstream,
  jetstreamManager,
  StorageType,
} from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import { durables } from "./operations.ts";
import { readAll } from "./read-all.ts";
import { type Delivery, durableNames, type OpenSide, prefixed, type SideOptions } from "./side.ts";

const longAckWaitMs = 600_000;
const nanosPerMs = 1_000_000;
const answerTimeoutMs = 20_000;
const absentCodes: readonly number[] = [10043, 10057];
const pullMs = 60;
/** A consumer hears a moment later of what is stored and removed. */
const lagsMs = [0, 5, 15, 40] as const;

function deliveryOf(connection: NatsConnection, message: Msg): Delivery | undefined {
  // A status: there is nothing, or too much is out.
  if (message.headers?.code) return undefined;
  const [, , , , deliveries, seq] = message.reply!.split(".");
  const say = async (word: string) => {
    // The server answers an ack that has a reply: then it is done.
    await connection.request(message.reply!, word, { timeout: answerTimeoutMs });
  };
  return {
    seq: Number(seq),
    deliveries: Number(deliveries),
    ack: () => say("+ACK"),
    nak: (ms) => say(ms === 0 ? "-NAK" : `-NAK ${JSON.stringify({ delay: ms * nanosPerMs })}`),
    term: () => say("+TERM"),
    working: () => say("+WPI"),
  };
}

export async function openReal(connection: NatsConnection): Promise<OpenSide> {
  const client = jetstream(connection, { timeout: answerTimeoutMs });
  const manager = await jetstreamManager(connection, {
    checkAPI: false,
    timeout: answerTimeoutMs,
  });
  return async ({ name, shape, windowMs }: SideOptions) => {
    const { maxMsgsPerSubject, maxBytes, discard } = shape;
    const at = (subject: string) => prefixed(name, subject);
    const addDurable = async (durable: string, ackWaitMs: number, filters: string[], max: number) =>
      void (await manager.consumers.add(name, {
        durable_name: durable,
        ack_policy: AckPolicy.Explicit,
        deliver_policy: DeliverPolicy.All,
        filter_subjects: filters,
        ack_wait: ackWaitMs * nanosPerMs,
        max_ack_pending: max,
      }));
    await manager.streams.add({
      name,
      subjects: [at(">")],
      // What is stored takes the platform's place on disk where its size matters.
      storage: maxBytes === undefined ? StorageType.Memory : StorageType.File,
      discard: discard === "new" ? DiscardPolicy.New : DiscardPolicy.Old,
      duplicate_window: windowMs * nanosPerMs,
      ...(maxMsgsPerSubject !== undefined && { max_msgs_per_subject: maxMsgsPerSubject }),
      ...(maxBytes !== undefined && { max_bytes: maxBytes }),
    });
    for (const durable of durableNames) {
      const { filters, maxAckPending } = durables[durable];
      await addDurable(durable, longAckWaitMs, filters.map(at), maxAckPending);
    }
    let hasBucket = false;
    const ask = async (query: { seq?: number; next_by_subj?: string; last_by_subj?: string }) =>
      (await manager.streams.getMessage(name, query as never))?.seq;
    return {
      publish: async (subject, text, { id, expect }) => {
        const { seq, duplicate } = await client.publish(at(subject), text, {
          ...(id !== undefined && { msgID: id }),
          ...(expect !== undefined && { expect: { lastSubjectSequence: expect } }),
        });
        return { seq, duplicate };
      },
      last: (subject) => ask({ last_by_subj: at(subject) }),
      next: (seq, subject) => ask({ seq, next_by_subj: at(subject) }),
      read: (from, subjects) =>
        readAll(client, { stream: name, prefix: at(""), from, filters: subjects.map(at) }),
      pull: async (durable) => {
        const subject = `$JS.API.CONSUMER.MSG.NEXT.${name}.${durable}`;
        for (const lagMs of lagsMs) {
          await delay(lagMs);
          const { num_ack_pending, config } = await manager.consumers.info(name, durable);
          const isStalled = num_ack_pending >= config.max_ack_pending!;
          // What is stalled is not answered at once; what comes again comes nevertheless.
          const how = isStalled ? { expires: pullMs * nanosPerMs } : { no_wait: true };
          const answer = await connection.request(subject, JSON.stringify({ batch: 1, ...how }), {
            timeout: answerTimeoutMs,
            // Messages come with their own subject.
            noMux: true,
          });
          const delivery = deliveryOf(connection, answer);
          if (delivery !== undefined || isStalled) return delivery;
        }
        return undefined;
      },
      pending: async (durable) => {
        for (let before = ""; ; await delay(lagsMs[1])) {
          const info = await manager.consumers.info(name, durable);
          const now = `${info.num_pending} ${info.num_ack_pending}`;
          if (now === before) return [info.num_pending, info.num_ack_pending];
          before = now;
        }
      },
      purge: async (subject) =>
        (
          await manager.streams.purge(
            name,
            subject === undefined ? undefined : { filter: at(subject) },
          )
        ).purged,
      remove: (seq) =>
        manager.streams.deleteMessage(name, seq, false).catch((error: unknown) => {
          // Each kind of storage says in its own way that there is no such message.
          if (error instanceof JetStreamApiError && absentCodes.includes(error.code)) return false;
          throw error;
        }),
      addDurable: (durable, ackWaitMs) => addDurable(durable, ackWaitMs, [at(">")], 1000),
      pass: (ms) => delay(ms),
      bucket: async () => {
        hasBucket = true;
        return await new Kvm(client).create(name, {
          history: 1,
          allow_direct: false,
          storage: StorageType.Memory,
        });
      },
      close: async () => {
        await manager.streams.delete(name);
        if (hasBucket) await manager.streams.delete(`KV_${name}`);
      },
    };
  };
}
