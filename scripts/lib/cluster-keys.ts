/** Certificates and kubeconfigs of a cluster for tests, made with openssl. */
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

const validDays = "365";
const client = "extendedKeyUsage=clientAuth";

export interface Keys {
  /** Holds ca.crt, sa.key and NAME.crt, NAME.key. */
  readonly folder: string;
  /** A kubeconfig for each client. */
  readonly kubeconfig: (
    name: "admin" | "controllers" | "scheduler" | "proxy" | "node" | "kwok" | "dns",
  ) => string;
}

export async function makeKeys(options: {
  readonly folder: string;
  readonly address: string;
  readonly port: number;
  readonly serviceAddress: string;
  readonly node: string;
}): Promise<Keys> {
  const { folder, address, port, serviceAddress, node } = options;
  await mkdir(folder, { recursive: true });
  const path = (name: string) => join(folder, name);
  await run("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
    ...["-keyout", path("ca.key"), "-subj", "/CN=test-ca", "-days", validDays],
    ...["-out", path("ca.crt")],
  ]);
  await run("openssl", ["genrsa", "-out", path("sa.key"), "2048"]);
  const names = ["", ".default", ".default.svc", ".default.svc.cluster.local"];
  const alternatives = [
    `IP:${address},IP:127.0.0.1,IP:${serviceAddress},DNS:localhost`,
    ...names.map((suffix) => `DNS:kubernetes${suffix}`),
  ].join();
  const server = "extendedKeyUsage=serverAuth\nsubjectAltName=";
  const certificates: readonly (readonly [name: string, subject: string, extensions: string])[] = [
    ["apiserver", "/CN=kube-apiserver", `${server}${alternatives}`],
    ["admin", "/O=system:masters/CN=admin", client],
    ["kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", client],
    ["controllers", "/CN=system:kube-controller-manager", client],
    ["scheduler", "/CN=system:kube-scheduler", client],
    ["proxy", "/CN=system:kube-proxy", client],
    ["kwok", "/O=system:masters/CN=kwok", client],
    ["dns", "/O=system:masters/CN=coredns", client],
    ["node", `/O=system:nodes/CN=system:node:${node}`, client],
    ["kubelet", `/CN=${node}`, `${server}DNS:${node},IP:${address}`],
  ];
  for (const certificate of certificates) await certify(folder, ...certificate);
  const users = ["admin", "controllers", "scheduler", "proxy", "node", "kwok", "dns"] as const;
  for (const user of users)
    await writeFile(
      path(`${user}.conf`),
      JSON.stringify(await kubeconfigOf(folder, user, `https://${address}:${port}`)),
    );
  return { folder, kubeconfig: (name) => path(`${name}.conf`) };
}

async function certify(
  folder: string,
  name: string,
  subject: string,
  extensions: string,
): Promise<void> {
  const path = (suffix: string) => join(folder, `${name}.${suffix}`);
  await run("openssl", [
    ...["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
    ...["-keyout", path("key"), "-subj", subject, "-out", path("csr")],
  ]);
  await writeFile(path("ext"), extensions);
  await run("openssl", [
    ...["x509", "-req", "-in", path("csr"), "-CA", join(folder, "ca.crt")],
    ...["-CAkey", join(folder, "ca.key"), "-CAcreateserial", "-days", validDays],
    ...["-out", path("crt"), "-extfile", path("ext")],
  ]);
}

async function kubeconfigOf(folder: string, user: string, server: string): Promise<object> {
  const data = async (file: string) => (await readFile(join(folder, file))).toString("base64");
  return {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    clusters: [
      { name: "test", cluster: { server, "certificate-authority-data": await data("ca.crt") } },
    ],
    users: [
      {
        name: user,
        user: {
          "client-certificate-data": await data(`${user}.crt`),
          "client-key-data": await data(`${user}.key`),
        },
      },
    ],
    contexts: [{ name: "test", context: { cluster: "test", user } }],
  };
}
