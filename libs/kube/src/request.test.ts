import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { KubeConfig } from "@kubernetes/client-node";
import { buildSend } from "./request.ts";

async function serverOf(t: TestContext, listener: RequestListener) {
  const sockets = new Set<Socket>();
  const server = createServer(listener).on("connection", (socket) => sockets.add(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const config = new KubeConfig();
  const { port } = server.address() as AddressInfo;
  config.loadFromClusterAndUser(
    { name: "c", server: `http://127.0.0.1:${port}`, skipTLSVerify: true },
    { name: "u", token: "t" },
  );
  return { send: buildSend(config), sockets };
}

test("requests share connections, and each says who asks", async (t) => {
  const who: (string | undefined)[] = [];
  const { send, sockets } = await serverOf(t, ({ headers }, response) => {
    who.push(headers.authorization);
    response.end("{}");
  });
  for (let n = 0; n < 10; n += 1) await (await send({ method: "GET", path: "/" })).text();
  deepEqual(who, Array(10).fill("Bearer t"));
  // One may not be free yet when the next request comes.
  ok(sockets.size <= 2, `${sockets.size} connections`);
});

test("after a failure the next one has a connection of its own", async (t) => {
  let isBroken = true;
  const { send, sockets } = await serverOf(t, (request, response) => {
    if (isBroken) request.socket.destroy();
    else response.end("{}");
  });
  await rejects(send({ method: "GET", path: "/a" }), /kubernetes-unavailable/);
  isBroken = false;
  equal((await send({ method: "GET", path: "/a" })).status, 200);
  equal(sockets.size, 2);
});
