/** The Secret that nats-server, services and workers share. */
import { randomBytes } from "node:crypto";
import { AppError } from "@coxswain/domain";
import { type Kube, pods, secrets } from "@coxswain/kube";
import type { TokenSeen } from "../install/decide-token.ts";

const name = "nats-token";
const tokenBytes = 32;

export async function lookAtToken(kube: Kube, namespace: string): Promise<TokenSeen> {
  const labelSelector = "coxswain.dev/worker";
  const [secret, workers] = await Promise.all([
    kube.get(secrets, { namespace, name }),
    kube.list(pods, { namespace, labelSelector }),
  ]);
  const running = workers.filter(
    ({ status }) => !["Succeeded", "Failed"].includes(status?.phase ?? ""),
  );
  return { hasToken: secret !== undefined, workers: running.map(({ metadata }) => metadata.name) };
}

/** Hexadecimal, so that it is the same in an address. The namespace must be there. */
export async function makeToken(kube: Kube, namespace: string): Promise<void> {
  const labels = { "app.kubernetes.io/part-of": "coxswain" };
  const token = randomBytes(tokenBytes).toString("hex");
  const { apiVersion, kind } = secrets;
  const secret = { apiVersion, kind, metadata: { name, namespace, labels }, stringData: { token } };
  await kube.create(secrets, secret).catch((error: unknown) => {
    // Somebody else made one meanwhile: it is as good.
    if (!(error instanceof AppError) || error.code !== "conflict") throw error;
  });
}
