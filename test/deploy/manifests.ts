/** The manifests as they lie in `k8s/`, and as an overlay renders them. */
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseAllDocuments } from "yaml";

export const root = resolve(import.meta.dirname, "../..");
const base = join(root, "k8s/base");

// biome-ignore lint/suspicious/noExplicitAny: manifests are read by the names of the Kubernetes API
export type Manifest = any;

export function parse(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    return document.toJS();
  });
}

export const kustomization: Manifest = parse(
  readFileSync(join(base, "kustomization.yaml"), "utf8"),
)[0];

export const baseFiles = readdirSync(base).filter(
  (file) => file.endsWith(".yaml") && file !== "kustomization.yaml",
);

export const baseManifests = baseFiles.flatMap((file) =>
  parse(readFileSync(join(base, file), "utf8")),
);

const hasKubectl = spawnSync("kubectl", ["version", "--client"], { stdio: "ignore" }).status === 0;
export const skipOverlays = hasKubectl ? false : "no kubectl here to render overlays";

export function render(overlay: string): Manifest[] {
  const folder = join(root, "k8s/overlays", overlay);
  return parse(execFileSync("kubectl", ["kustomize", folder], { encoding: "utf8" }));
}

/** What the API's schema has against a manifest: wrong types, missing fields, unknown fields. */
export async function schemaViolations(manifest: Manifest): Promise<string[]> {
  const { kind, apiVersion } = manifest as { kind: string; apiVersion: string };
  const { [kind]: model } = await import(`kubernetes-models/${apiVersion}/${kind}`);
  const name = `${kind} ${manifest.metadata.name}`;
  // A schema of schemas, of which the models know a part; test/kubernetes asks the server.
  if (kind === "CustomResourceDefinition") return [];
  const read = new Set<string>();
  try {
    model.prototype.validate.call(watched(manifest, "", read));
  } catch (error) {
    return [`${name}: ${(error as Error).message}`];
  }
  return pathsOf(manifest, "")
    .filter((path) => !read.has(path))
    .map((path) => `${name}: ${path} is unknown`);
}

/** Notes each field that somebody reads: a field that no validator reads is one that no schema has. */
function watched<Value extends object>(value: Value, path: string, read: Set<string>): Value {
  return new Proxy(value, {
    get: (target, key) => {
      const field = Reflect.get(target, key) as unknown;
      if (typeof key === "symbol" || !Object.hasOwn(target, key)) return field;
      const place = `${path}/${key}`;
      read.add(place);
      return typeof field === "object" && field !== null ? watched(field, place, read) : field;
    },
  });
}

function pathsOf(value: unknown, path: string): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, field]) => [
    `${path}/${key}`,
    ...pathsOf(field, `${path}/${key}`),
  ]);
}

/** A container's environment as the kubelet makes it: of `given`, and of what it says itself. */
export function environmentOf(
  container: Manifest,
  given: Readonly<Record<string, string>>,
): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { name, value } of container.env) {
    const text: string = value ?? given[name];
    found[name] = text.replace(/\$\((\w+)\)/g, (_, other: string) => found[other]!);
  }
  return found;
}
