/** `/healthz` (the process lives), `/readyz` (it can do its work) and `/metrics`, on a port of their own. */
import { createServer, type RequestListener, type Server } from "node:http";

export interface Readiness {
  readonly isReady: boolean;
  /** Why not, or what it is doing. */
  readonly reason: string;
}

export async function startHealth(options: {
  readonly host: string;
  readonly port: number;
  readonly readiness: () => Readiness;
  /** Answers `/metrics`, where they are kept for Prometheus. */
  readonly metrics?: RequestListener | undefined;
}): Promise<{ readonly port: number; close(): void }> {
  const server = createServer((request, response) => {
    if (request.url === "/metrics" && options.metrics !== undefined)
      return options.metrics(request, response);
    const readiness = options.readiness();
    const isKnown = request.url === "/healthz" || request.url === "/readyz";
    const status = !isKnown ? 404 : request.url === "/readyz" && !readiness.isReady ? 503 : 200;
    response.writeHead(status, { "content-type": "application/json" });
    response.end(
      JSON.stringify(isKnown ? readiness : { reason: "only /healthz and /readyz are here" }),
    );
  });
  server.requestTimeout = 5000;
  await listen(server, options);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function listen(
  server: Server,
  options: { readonly host: string; readonly port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: options.port, host: options.host }, () => resolve());
  });
}
