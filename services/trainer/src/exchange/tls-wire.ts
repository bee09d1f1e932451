/**
 * The same connections inside TLS 1.3, by a pre-shared key (RFC 8446, 2.2) made of the job's secret:
 * both sides prove that they know it, there are no certificates to issue or renew, and ephemeral keys
 * keep what was said secret even if the job's secret gets out later.
 */
import { hkdfSync } from "node:crypto";
import type { Server } from "node:net";
import { connect, createServer, type TlsOptions } from "node:tls";
import { type Accept, copyInto, type Wire } from "./wire.ts";

const common = {
  ciphers: "TLS_AES_128_GCM_SHA256",
  minVersion: "TLSv1.3",
  maxVersion: "TLSv1.3",
} as const;
const keyBytes = 32;

export interface TlsWireOptions {
  readonly jobId: string;
  readonly secret: string;
  readonly handshakeTimeoutMs: number;
}

export function buildTlsWire({ jobId, secret, handshakeTimeoutMs }: TlsWireOptions): Wire {
  const info = `coxswain exchange ${jobId}`;
  const psk = Buffer.from(hkdfSync("sha256", secret, "", info, keyBytes));
  return {
    dial: (target, sink) =>
      copyInto(
        connect({
          ...target,
          ...common,
          pskCallback: () => ({ psk, identity: jobId }),
          checkServerIdentity: () => undefined, // There is no certificate: the key is the identity.
        }),
        sink,
      ),
    serve: (accept: Accept): Server => {
      const options: TlsOptions = {
        ...common,
        noDelay: true,
        handshakeTimeout: handshakeTimeoutMs,
        pskCallback: (_socket, identity) => (identity === jobId ? psk : null),
      };
      const server = createServer(options, (socket) => accept((sink) => copyInto(socket, sink)));
      // Who does not speak TLS, or has another key, is cut off by the server itself.
      server.on("tlsClientError", () => undefined);
      return server;
    },
  };
}
