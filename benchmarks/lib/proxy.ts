/** A TCP proxy before a server: it delays, cuts off and resets connections when told so. */
import { createConnection, createServer, type Server, type Socket } from "node:net";

interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
}

/** What comes in one direction, in order, each piece so much later. */
function pump(from: Socket, to: Socket, delayMs: () => number): void {
  let lastMs = 0;
  from.on("data", (bytes) => {
    const nowMs = performance.now();
    const atMs = Math.max(lastMs, nowMs + delayMs());
    lastMs = atMs;
    if (atMs <= nowMs) to.write(bytes);
    else setTimeout(() => !to.destroyed && to.write(bytes), atMs - nowMs);
  });
  from.on("close", () => to.destroy());
  from.on("error", () => to.destroy());
}

export class TcpProxy {
  readonly #upstream: { readonly host: string; readonly port: number };
  readonly #pairs = new Set<Pair>();
  readonly #server: Server;
  #isDown = false;
  /** Of each piece, in each direction. */
  delayMs: () => number = () => 0;

  constructor(upstreamUrl: string) {
    const { hostname: host, port } = new URL(upstreamUrl);
    this.#upstream = { host, port: Number(port) };
    this.#server = createServer((client) => this.#accept(client));
  }

  #accept(client: Socket): void {
    if (this.#isDown) return void client.destroy();
    const upstream = createConnection(this.#upstream);
    const pair = { client, upstream };
    this.#pairs.add(pair);
    client.on("close", () => this.#pairs.delete(pair));
    for (const socket of [client, upstream]) socket.setNoDelay(true);
    pump(client, upstream, () => this.delayMs());
    pump(upstream, client, () => this.delayMs());
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    const { port } = this.#server.address() as { readonly port: number };
    return `nats://127.0.0.1:${port}`;
  }

  /** All connections, or each with this probability. */
  #some(random: () => number, share: number): readonly Pair[] {
    return [...this.#pairs].filter(() => random() < share);
  }

  /** RST in the middle of whatever was on its way. */
  reset(random: () => number, share: number): void {
    for (const { client, upstream } of this.#some(random, share)) {
      client.resetAndDestroy();
      upstream.destroy();
    }
  }

  /** Nothing comes through, and nobody is told: as packets that are dropped. Returns how to end it. */
  cut(random: () => number, share: number): () => void {
    const cut = this.#some(random, share);
    for (const { client, upstream } of cut) {
      client.pause();
      upstream.pause();
    }
    return () => {
      for (const { client, upstream } of cut) {
        client.resume();
        upstream.resume();
      }
    };
  }

  /** Nobody is let in, and who was in is thrown out. */
  set isDown(isDown: boolean) {
    this.#isDown = isDown;
    if (isDown) this.reset(() => 0, 1);
  }

  async close(): Promise<void> {
    for (const { client, upstream } of this.#pairs) {
      client.destroy();
      upstream.destroy();
    }
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
