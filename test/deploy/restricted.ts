/** The Pod Security Standard `restricted`, as far as a Deployment-like workload can break it. */
import type { Manifest } from "./manifests.ts";

const volumeTypes = new Set([
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "persistentVolumeClaim",
  "projected",
  "secret",
]);

/** Each rule that the Pod breaks, in the standard's own words. */
export function restrictedViolations(pod: Manifest): string[] {
  const own = pod.securityContext ?? {};
  const containers = [...(pod.containers ?? []), ...(pod.initContainers ?? [])];
  return [
    ...["hostNetwork", "hostPID", "hostIPC"].filter((field) => pod[field] === true),
    ...(pod.volumes ?? []).flatMap(({ name, ...source }: Manifest) =>
      Object.keys(source).every((type) => volumeTypes.has(type)) ? [] : [`volume ${name}`],
    ),
    ...containers.flatMap((container: Manifest) => containerViolations(container, own)),
  ];
}

function containerViolations({ name, ports, securityContext }: Manifest, pod: Manifest): string[] {
  const context = securityContext ?? {};
  const rules: readonly (readonly [string, boolean])[] = [
    ["privileged", context.privileged !== true],
    ["allowPrivilegeEscalation", context.allowPrivilegeEscalation === false],
    ["capabilities", isDropped(context.capabilities)],
    ["runAsNonRoot", (context.runAsNonRoot ?? pod.runAsNonRoot) === true],
    ["runAsUser", (context.runAsUser ?? pod.runAsUser) !== 0],
    [
      "seccompProfile",
      ["RuntimeDefault", "Localhost"].includes(
        (context.seccompProfile ?? pod.seccompProfile)?.type,
      ),
    ],
    ["hostPort", (ports ?? []).every(({ hostPort }: Manifest) => hostPort === undefined)],
  ];
  return rules.filter(([, isKept]) => !isKept).map(([rule]) => `${name}: ${rule}`);
}

function isDropped(capabilities: Manifest): boolean {
  const added: readonly string[] = capabilities?.add ?? [];
  return (
    capabilities?.drop?.includes("ALL") === true &&
    added.every((capability) => capability === "NET_BIND_SERVICE")
  );
}
