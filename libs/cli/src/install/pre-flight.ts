/** What a cluster must have before Coxswain is installed, judged from what was seen of it. */

export interface ClusterFacts {
  /** Of the API server: `v1.35.4`. */
  readonly version: string;
  /** Undefined, as the next: the present user may not look at them. */
  readonly storageClasses:
    | readonly { readonly name: string; readonly isDefault: boolean }[]
    | undefined;
  readonly nodes: readonly { readonly isReady: boolean; readonly gpus: number }[] | undefined;
  /** What the present user may not do of what an installation does. */
  readonly forbidden: readonly string[];
}

export interface Check {
  readonly name: string;
  readonly verdict: "ok" | "warning" | "failed";
  readonly word: string;
}

/** CEL rules, server-side apply and validation are stable from here on, and it was supported lately. */
const minorMin = 29;
const minorTested = 35;
/** The log's replicas go to different machines. */
const nodesForProduction = 3;

export function decidePreFlight(facts: ClusterFacts): readonly Check[] {
  return [versionOf(facts), nodesOf(facts), storageOf(facts), gpusOf(facts), rightsOf(facts)];
}

const check = (name: string, verdict: Check["verdict"], word: string): Check => ({
  ...{ name, verdict, word },
});

function versionOf({ version }: ClusterFacts): Check {
  const minor = Number(/^v1\.(\d+)/.exec(version)?.[1] ?? 0);
  if (minor < minorMin)
    return check("version", "failed", `${version}; needs v1.${minorMin} or newer`);
  if (minor === minorTested) return check("version", "ok", `${version}, which is tested`);
  return check("version", "warning", `${version}; tested is v1.${minorTested}`);
}

const unseen = (name: string) => check(name, "warning", "you may not look at them");

function nodesOf({ nodes }: ClusterFacts): Check {
  if (nodes === undefined) return unseen("nodes");
  const ready = nodes.filter(({ isReady }) => isReady).length;
  if (ready === 0) return check("nodes", "failed", "no node is ready");
  if (ready < nodesForProduction)
    return check("nodes", "warning", `${ready} ready: overlay dev; production needs 3 for the log`);
  return check("nodes", "ok", `${ready} ready`);
}

function storageOf({ storageClasses }: ClusterFacts): Check {
  if (storageClasses === undefined) return unseen("storage");
  const preset = storageClasses.find(({ isDefault }) => isDefault);
  if (preset !== undefined)
    return check("storage", "ok", `default class ${preset.name}; \`store\` needs ReadWriteMany`);
  const names = storageClasses.map(({ name }) => name);
  if (names.length > 0)
    return check("storage", "warning", `no default class; name one of ${names.join(", ")}`);
  return check("storage", "warning", "no class: make volumes for the claims by hand");
}

function gpusOf({ nodes }: ClusterFacts): Check {
  if (nodes === undefined) return unseen("gpus");
  const gpus = nodes.reduce((sum, node) => sum + node.gpus, 0);
  if (gpus > 0) return check("gpus", "ok", `${gpus} by the plugin nvidia.com/gpu`);
  return check(
    "gpus",
    "warning",
    "no node offers nvidia.com/gpu: jobs that ask for GPUs will wait",
  );
}

function rightsOf({ forbidden }: ClusterFacts): Check {
  if (forbidden.length === 0) return check("rights", "ok", "you may install it");
  return check("rights", "failed", `you may not: ${forbidden.join("; ")}`);
}
