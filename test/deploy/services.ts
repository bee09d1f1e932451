/** What a service reads, and what its image sets: the facts that deployments must agree with. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./manifests.ts";

export const services = readdirSync(join(root, "services"));

const schemas = new Map(
  await Promise.all(
    services.map(async (service) => {
      const { ConfigSchema } = await import(join(root, "services", service, "src/config.ts"));
      return [service, new Set(Object.keys(ConfigSchema.properties))] as const;
    }),
  ),
);

export const serviceSettings = (service: string): ReadonlySet<string> => schemas.get(service)!;

const stages = new Map(
  readFileSync(join(root, "Dockerfile"), "utf8")
    .split(/^(?=FROM )/m)
    .flatMap((text) => {
      const [, parent, name] = /^FROM (\S+) AS (\S+)/.exec(text) ?? [];
      return name === undefined ? [] : [[name, { parent: parent!, text }] as const];
    }),
);

/** The `ENV` of a target of the Dockerfile, and of the stages that it stands on. */
export function imageEnvironment(target: string): Record<string, string> {
  const stage = stages.get(target);
  if (stage === undefined) return {};
  const instructions = [...stage.text.matchAll(/^ENV ((?:.*\\\n)*.*)$/gm)].map(([, rest]) => rest!);
  const own = instructions.flatMap((rest) => [...rest.matchAll(/(\w+)=(\S+)/g)]);
  return {
    ...imageEnvironment(stage.parent),
    ...Object.fromEntries(own.map(([, name, value]) => [name!, value!])),
  };
}
