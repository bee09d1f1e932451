/**
 * The parts of the client library that `libs/bus` uses, on a simulated connection: the bus itself,
 * with its retries, its order and its leases, is the real one.
 */
import { type Clock, systemClock } from "@coxswain/bus";
import type { BusPorts } from "@coxswain/bus/ports";
import { type Link, Order } from "./network.ts";
import type { BusServer, Consumer, StoredMessage, Stream } from "./server.ts";

const requestTimeoutMs = 5000;

interface PublishOptions {
  readonly msgID?: string;
  readonly timeout?: number;
  readonly headers?: Iterable<readonly [string, readonly string[]]>;
  readonly expect?: { readonly lastSubjectSequence?: number };
}

type Body = Uint8Array | string | undefined;

const bytesOf = (body: Body) =>
  typeof body === "string" ? new TextEncoder().encode(body) : (body ?? new Uint8Array());

function headersOf(options: PublishOptions): Map<string, string> {
  const headers = new Map<string, string>();
  for (const [name, values] of options.headers ?? []) headers.set(name, values[0] ?? "");
  if (options.msgID !== undefined) headers.set("Nats-Msg-Id", options.msgID);
  const expected = options.expect?.lastSubjectSequence;
  if (expected !== undefined) headers.set("Nats-Expected-Last-Subject-Sequence", `${expected}`);
  return headers;
}

/** Items that one side gives and the other takes, in order; ends when it is stopped. */
class Channel<Item> implements AsyncIterable<Item> {
  readonly #items: Item[] = [];
  #wake = Promise.withResolvers<void>();
  #isStopped = false;
  onTake: () => void = () => undefined;

  get waiting(): number {
    return this.#items.length;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  give(item: Item): void {
    this.#items.push(item);
    this.#wake.resolve();
  }

  stop(): void {
    this.#isStopped = true;
    this.#wake.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item> {
    while (!this.#isStopped) {
      const item = this.#items.shift();
      if (item === undefined) {
        this.#wake = Promise.withResolvers();
        await this.#wake.promise;
        continue;
      }
      yield item;
      this.onTake();
    }
  }
}

function messageOf(
  message: StoredMessage,
  info: { readonly pending: number; readonly deliveryCount: number },
  acks: { ack(): void; nak(ms: number): void; working(): void },
) {
  const { subject, seq, data, headers, timeMs } = message;
  const all = new Map([...headers].map(([name, value]) => [name, [value]] as const));
  return {
    ...{ subject, seq, data },
    headers: {
      get: (name: string) => headers.get(name) ?? "",
      [Symbol.iterator]: () => all[Symbol.iterator](),
    },
    info: { ...info, timestampNanos: BigInt(Math.floor(timeMs)) * 1_000_000n },
    json: () => JSON.parse(new TextDecoder().decode(data)),
    ack: acks.ack,
    nak: acks.nak,
    term: () => acks.ack(),
    working: acks.working,
  };
}

const noAcks = { ack: () => undefined, nak: () => undefined, working: () => undefined };

type Delivered = ReturnType<typeof messageOf>;

/** The ordered consumer: everything from a sequence on, then whatever comes. */
function orderedConsumer(link: Link, stream: Stream, filters: readonly string[], from: number) {
  return {
    info: () =>
      link.request(() => ({ num_pending: stream.pending(from, filters) }), requestTimeoutMs),
    consume: async () => {
      const channel = new Channel<Delivered>();
      const order = new Order();
      let next = from;
      const push = () => {
        if (channel.isStopped || !link.isConnected) return;
        for (;;) {
          const message = stream.next(next, filters);
          if (message === undefined) return;
          next = message.seq + 1;
          const pending = stream.pending(next, filters);
          const delivered = messageOf(message, { pending, deliveryCount: 1 }, noAcks);
          link.push(order, () => channel.give(delivered));
        }
      };
      await link.request(() => undefined, requestTimeoutMs);
      attach(link, stream, channel, push);
      return channel;
    },
    delete: async () => true, // It is kept by its reader alone.
  };
}

/** Pushes now and after each change, as long as the server can and the reader wants it. */
function attach<Item>(link: Link, stream: Stream, channel: Channel<Item>, push: () => void): void {
  const { network } = link;
  const stop = stream.onChange(() => {
    if (channel.isStopped || link.isClosed) return stop();
    network.whenLed(push);
  });
  network.whenLed(push);
}

/** Messages that a client holds and has not handled. */
const windowMax = 16;

function durableConsumer(link: Link, stream: Stream, consumer: Consumer) {
  const { network } = link;
  const { clock } = network;
  const tell = (act: () => void) => {
    // An ack is no request: nobody learns that it was lost.
    void link.request(act, requestTimeoutMs).catch(() => undefined);
  };
  return {
    info: () =>
      link.request(
        () => ({ num_pending: consumer.numPending, num_ack_pending: consumer.ackPending }),
        requestTimeoutMs,
      ),
    consume: async () => {
      const channel = new Channel<Delivered>();
      const order = new Order();
      let onTheWay = 0;
      const push = () => {
        if (channel.isStopped || link.isClosed || !link.isConnected) return;
        while (channel.waiting + onTheWay < windowMax) {
          const taken = consumer.take(clock.nowMs());
          if (taken === undefined) break;
          const { message, deliveries } = taken;
          const { seq } = message;
          const delivered = messageOf(
            message,
            { pending: consumer.numPending, deliveryCount: deliveries },
            {
              ack: () => tell(() => consumer.ack(seq)),
              nak: (ms) => tell(() => consumer.nak(seq, clock.nowMs(), ms ?? 0)),
              working: () => tell(() => consumer.working(seq, clock.nowMs())),
            },
          );
          onTheWay += 1;
          link.push(order, () => {
            onTheWay -= 1;
            channel.give(delivered);
          });
        }
        const due = consumer.dueMs;
        if (due !== undefined)
          clock.later(Math.max(1, due - clock.nowMs()), () => network.whenLed(push));
      };
      channel.onTake = () => network.whenLed(push);
      await link.request(() => undefined, requestTimeoutMs);
      attach(link, stream, channel, push);
      return channel;
    },
  };
}

interface OrderedOptions {
  readonly filter_subjects: readonly string[] | string;
  readonly opt_start_seq?: number;
}

function publishOn(link: Link) {
  return async (subject: string, body?: Body, options: PublishOptions = {}) => {
    const message = { subject, headers: headersOf(options), data: bytesOf(body) };
    const nowMs = link.network.clock.nowMs;
    return await link.request((server) => {
      const answer = server.streamOf(subject).publish(message, nowMs());
      server.tell(subject, new TextDecoder().decode(message.data), message.headers);
      return answer;
    }, options.timeout ?? requestTimeoutMs);
  };
}

function clientOn(link: Link) {
  const { server } = link.network;
  return {
    publish: publishOn(link),
    consumers: {
      get: async (name: string, what: string | OrderedOptions) => {
        if (typeof what === "string") {
          await link.request(() => undefined, requestTimeoutMs);
          return durableConsumer(
            link,
            server.stream(name),
            server.stream(name).consumers.get(what)!,
          );
        }
        const filters = [what.filter_subjects].flat();
        return orderedConsumer(link, server.stream(name), filters, what.opt_start_seq ?? 1);
      },
    },
  };
}

interface Query {
  readonly seq?: number;
  readonly next_by_subj?: string;
  readonly last_by_subj?: string;
}

function managerOn(link: Link) {
  return {
    streams: {
      getMessage: (name: string, query: Query) =>
        link.request((server) => {
          const stream = server.stream(name);
          const found =
            query.last_by_subj === undefined
              ? stream.next(query.seq ?? 1, [query.next_by_subj ?? ">"])
              : stream.lastOf(query.last_by_subj);
          if (found === undefined) return null;
          return { seq: found.seq, header: { get: (key: string) => found.headers.get(key) ?? "" } };
        }, requestTimeoutMs),
    },
    consumers: {
      add: (
        name: string,
        config: {
          readonly durable_name: string;
          readonly filter_subjects: readonly string[];
          readonly ack_wait: number;
          readonly max_ack_pending: number;
        },
      ) =>
        link.request(
          (server) =>
            server.stream(name).addConsumer({
              name: config.durable_name,
              filters: config.filter_subjects,
              ackWaitMs: config.ack_wait / 1_000_000,
              maxAckPending: config.max_ack_pending,
            }),
          requestTimeoutMs,
        ),
    },
  };
}

function entryOf(prefix: string, message: StoredMessage) {
  return {
    key: message.subject.slice(prefix.length),
    operation: message.headers.get("KV-Operation") ?? "PUT",
    revision: message.seq,
    json: () => JSON.parse(new TextDecoder().decode(message.data)),
  };
}

type KvEntry = ReturnType<typeof entryOf>;

/** Values of a bucket are the last messages of their subjects. */
function kvOn(link: Link, name: string) {
  const publish = publishOn(link);
  const prefix = `$KV.${name}.`;
  const streamName = `KV_${name}`;
  const open = (server: BusServer) =>
    server.addStream({ name: streamName, subjects: [`${prefix}>`], maxMsgsPerSubject: 1 });
  const get = (key: string) =>
    link.request((server) => {
      const last = open(server).lastOf(prefix + key);
      return last === undefined ? null : entryOf(prefix, last);
    }, requestTimeoutMs);
  const write = async (key: string, value: string, revision?: number) => {
    const expect = revision === undefined ? {} : { expect: { lastSubjectSequence: revision } };
    return (await publish(prefix + key, value, expect)).seq;
  };
  const create = async (key: string, value: string): Promise<number> => {
    try {
      return await write(key, value, 0);
    } catch (error) {
      const entry = await get(key);
      if (entry === null || entry.operation === "PUT") throw error;
      return await write(key, value, entry.revision);
    }
  };
  return {
    ...{ get, create },
    open: () => link.request((server) => void open(server), requestTimeoutMs),
    update: (key: string, value: string, revision: number) => write(key, value, revision),
    put: (key: string, value: string) => write(key, value),
    delete: async (key: string) => {
      const headers = [["KV-Operation", ["DEL"]]] as const;
      await publish(prefix + key, undefined, { headers });
    },
    keys: async () =>
      await link.request((server) => {
        const stream = open(server);
        return stream
          .subjects()
          .filter((subject) => !stream.lastOf(subject)!.headers.has("KV-Operation"))
          .map((subject) => subject.slice(prefix.length));
      }, requestTimeoutMs),
    watch: async ({ key }: { readonly key?: string }) => {
      await link.request((server) => open(server), requestTimeoutMs);
      const stream = open(link.network.server);
      const filters = [prefix + (key ?? ">")];
      const channel = new Channel<KvEntry>();
      const order = new Order();
      let next = 1;
      attach(link, stream, channel, () => {
        if (channel.isStopped || !link.isConnected) return;
        for (;;) {
          const message = stream.next(next, filters);
          if (message === undefined) return;
          next = message.seq + 1;
          link.push(order, () => channel.give(entryOf(prefix, message)));
        }
      });
      return channel;
    },
  };
}

function objectsOn(link: Link) {
  const on = <Result>(serve: (server: BusServer) => Result) =>
    link.request(serve, requestTimeoutMs);
  return {
    info: (name: string) => on((server) => (server.objects.has(name) ? { name } : null)),
    putBlob: ({ name }: { readonly name: string }, bytes: Uint8Array) =>
      on((server) => void server.objects.set(name, bytes.slice())),
    getBlob: (name: string) => on((server) => server.objects.get(name)?.slice() ?? null),
  };
}

function coreOn(link: Link) {
  const { network } = link;
  return {
    publish: (subject: string, text: string) => {
      if (network.random() < network.faults.lost) return;
      network.clock.later(network.latencyMs(), () => {
        if (network.isUp && link.isConnected) network.server.tell(subject, text);
      });
    },
    subscribe: (pattern: string) => {
      const channel = new Channel<{ readonly subject: string; json(): unknown }>();
      const order = new Order();
      const stop = network.server.subscribe(pattern, (subject, data) => {
        if (link.isClosed) return stop();
        if (link.isConnected)
          link.push(order, () => channel.give({ subject, json: () => JSON.parse(data) }));
      });
      return Object.assign(channel, {
        unsubscribe: () => {
          stop();
          channel.stop();
        },
      });
    },
  };
}

/** What `busOn` needs, on this connection. Closing the bus closes the connection. */
export function portsOn(link: Link, clock: Clock = systemClock): BusPorts {
  const ports = {
    client: clientOn(link),
    manager: managerOn(link),
    kvm: {
      create: async (name: string) => {
        const kv = kvOn(link, name);
        await kv.open();
        return kv;
      },
    },
    objm: { create: async () => objectsOn(link) },
    core: coreOn(link),
    status: {
      isConnected: () => link.isConnected,
      onReconnect: (listener: () => void) => link.onReconnect(listener),
      onStatus: (listener: (status: "connected" | "disconnected") => void) =>
        link.onStatus(listener),
    },
    clock,
    replicas: 1,
    version: "simulated",
    close: async () => link.close(),
  };
  return ports as unknown as BusPorts;
}
