/** What an operator's mistake or a crash of the server does to the log's readers: all of it comes again. */
import { JetStreamApiError, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";

const stream = "EVENTS";
const durable = "checkpoint-parts";
const consumerNotFound = 10014;

/** The place of a durable reader is lost: it reads the whole log again. */
export async function forgetReader(url: string): Promise<boolean> {
  const connection = await connect({ servers: url });
  try {
    const manager = await jetstreamManager(connection);
    return await manager.consumers.delete(stream, durable).catch((error: unknown) => {
      if (error instanceof JetStreamApiError && error.code === consumerNotFound) return false; // Its service has just died.
      throw error;
    });
  } finally {
    await connection.close();
  }
}

/** Some of the newest facts are published once more, in reverse, each with its id. @returns how many */
export async function publishAgain(url: string, count: number): Promise<number> {
  const connection = await connect({ servers: url });
  try {
    const manager = await jetstreamManager(connection);
    const client = jetstream(connection);
    const { last_seq: last } = (await manager.streams.info(stream)).state;
    let again = 0;
    for (let seq = last; seq > Math.max(0, last - count); seq -= 1) {
      const message = await manager.streams.getMessage(stream, { seq });
      if (message === null) continue;
      const same = headers();
      for (const [name, values] of message.header)
        if (!name.startsWith("Nats-Expected")) same.set(name, values[0] ?? "");
      const { duplicate } = await client.publish(message.subject, message.data, { headers: same });
      if (!duplicate) throw new Error(`event ${seq} was stored twice`);
      again += 1;
    }
    return again;
  } finally {
    await connection.close();
  }
}
