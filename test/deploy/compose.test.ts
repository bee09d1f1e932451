/** What `docker-compose.yml` promises, checked without an engine; `test/containers` runs it. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import type { Manifest } from "./manifests.ts";
import { root } from "./manifests.ts";
import { serviceSettings, services } from "./services.ts";

const file: Manifest = parse(readFileSync(join(root, "docker-compose.yml"), "utf8"), {
  merge: true,
});
const all: [string, Manifest][] = Object.entries(file.services);
const ours = all.filter(([name]) => services.includes(name));

test("each of the five services is built from its target", () => {
  deepEqual(ours.map(([, { build }]) => build.target).sort(), services.toSorted());
});

test("each setting is one that its service reads", () => {
  for (const [name, { environment }] of ours)
    for (const setting of Object.keys(environment))
      ok(serviceSettings(name).has(setting), `${name} does not read ${setting}`);
});

test("nothing is published but on loopback, and nats-server and trainers not at all", () => {
  for (const [name, { ports = [] }] of all)
    for (const port of ports) ok(port.startsWith("127.0.0.1:"), `${name}: ${port}`);
  for (const name of ["nats", "trainer", "scheduler", "autoscaler", "checkpoint"]) {
    equal(file.services[name].ports, undefined);
    deepEqual(file.services[name].networks, ["bus"]);
  }
  equal(file.networks.bus.internal, true);
});

test("every container drops what it does not need", () => {
  for (const [name, { cap_drop, security_opt, restart }] of all) {
    deepEqual(cap_drop, ["ALL"], name);
    deepEqual(security_opt, ["no-new-privileges:true"], name);
    equal(restart, "unless-stopped", name);
  }
  for (const [name, { read_only }] of [...ours, ["nats", file.services.nats] as const])
    equal(read_only, true, name);
});

test("an acknowledged write is on the disk, and the disk is a volume", () => {
  const conf = readFileSync(join(root, "deploy/nats-server.conf"), "utf8");
  ok(conf.includes("sync_interval: always"));
  ok(file.services.nats.volumes.includes("log:/data"));
  for (const name of ["job-api", "checkpoint", "trainer"])
    ok(file.services[name].volumes.includes("store:/var/lib/coxswain/store"), name);
});

test("with secrets by file, each service reads nats-server's token from one", () => {
  const text = readFileSync(join(root, "deploy/compose-secrets.yml"), "utf8");
  const secrets: Manifest = parse(text, { merge: true });
  deepEqual(Object.keys(secrets.services).sort(), ["nats", ...services].sort());
  for (const name of services) {
    const { environment, secrets: mounted } = secrets.services[name];
    deepEqual(environment, { NATS_TOKEN_FILE: "/run/secrets/nats-token" });
    deepEqual(mounted, ["nats-token"]);
    ok(serviceSettings(name).has("NATS_TOKEN"), name);
  }
});
