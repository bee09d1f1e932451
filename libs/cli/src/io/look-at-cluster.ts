/** What `cox install --check` sees of a cluster. */
import { AppError } from "@coxswain/domain";
import {
  type AccessQuestion,
  connectKube,
  type Kube,
  nodes,
  parseQuantity,
  storageClasses,
} from "@coxswain/kube";
import type { ClusterFacts } from "../install/pre-flight.ts";

const defaultClass = "storageclass.kubernetes.io/is-default-class";
export const namespace = "coxswain";

/** One for each kind that the manifests hold, and for what an installation looks at. */
const needed: readonly AccessQuestion[] = [
  ...["namespaces"].map((resource) => ({ verb: "create", group: "", resource })),
  ...["services", "serviceaccounts", "configmaps", "persistentvolumeclaims", "podtemplates"].map(
    (resource) => ({ verb: "create", group: "", resource, namespace }),
  ),
  // The token of the bus is made where there is none and no worker runs without it.
  { verb: "get", group: "", resource: "secrets", namespace },
  { verb: "create", group: "", resource: "secrets", namespace },
  { verb: "list", group: "", resource: "pods", namespace },
  ...["deployments", "statefulsets"].map((resource) => ({
    ...{ verb: "create", group: "apps", resource, namespace },
  })),
  { verb: "create", group: "apiextensions.k8s.io", resource: "customresourcedefinitions" },
  { verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterroles" },
  { verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterrolebindings" },
  { verb: "create", group: "rbac.authorization.k8s.io", resource: "roles", namespace },
  { verb: "create", group: "scheduling.k8s.io", resource: "priorityclasses" },
  { verb: "create", group: "networking.k8s.io", resource: "networkpolicies", namespace },
  { verb: "create", group: "policy", resource: "poddisruptionbudgets", namespace },
];

/** @throws AppError `kubernetes-unavailable` when no cluster answers */
export async function lookAtCluster(kubeconfig: string | undefined): Promise<ClusterFacts> {
  const kube = connectKube({ kubeconfig });
  const [version, found, classes, forbidden] = await Promise.all([
    kube.version(),
    ifAllowed(kube.list(nodes)),
    ifAllowed(kube.list(storageClasses)),
    forbiddenOf(kube),
  ]);
  return {
    version,
    forbidden,
    nodes: found?.map(({ status }) => ({
      isReady:
        status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") ?? false,
      gpus: parseQuantity(status?.allocatable?.["nvidia.com/gpu"] ?? "0"),
    })),
    storageClasses: classes?.map(({ metadata: { name, annotations } }) => ({
      name,
      isDefault: annotations?.[defaultClass] === "true",
    })),
  };
}

/** What the present user may not look at is no reason to show nothing else. */
function ifAllowed<Found>(look: Promise<Found>): Promise<Found | undefined> {
  return look.catch((error: unknown) => {
    if (error instanceof AppError && error.code === "kubernetes-refused") return undefined;
    throw error;
  });
}

async function forbiddenOf(kube: Kube): Promise<readonly string[]> {
  const answers = await Promise.all(
    needed.map(async (question) => ({ question, isAllowed: await kube.mayI(question) })),
  );
  return answers
    .filter(({ isAllowed }) => !isAllowed)
    .map(({ question: { verb, resource } }) => `${verb} ${resource}`);
}
