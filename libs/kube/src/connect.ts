/** The real Kubernetes behind the port. */
import { AppError } from "@coxswain/domain";
import { KubeConfig } from "@kubernetes/client-node";
import { follow } from "./follow.ts";
import { pathOf } from "./paths.ts";
import type { AccessQuestion, Kube } from "./port.ts";
import { bodyOf, buildSend, type Send } from "./request.ts";

/**
 * Connects to the cluster that a kubeconfig names, or to the one that this process runs in.
 *
 * @throws AppError `invalid-config` when there is neither
 */
export function connectKube(options: { readonly kubeconfig?: string | undefined } = {}): Kube {
  const config = new KubeConfig();
  try {
    if (options.kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(options.kubeconfig);
  } catch (cause) {
    throw new AppError("invalid-config", `the kubeconfig cannot be read: ${cause}`, { cause });
  }
  // What the client takes when it finds nothing; it would refuse to speak to it.
  if (config.getCurrentCluster()?.server === "http://localhost:8080")
    throw new AppError(
      "invalid-config",
      "no Kubernetes cluster is known: there is no ~/.kube/config, KUBECONFIG names none, and this is no Pod",
    );
  return buildKube(buildSend(config));
}

export function buildKube(send: Send): Kube {
  const request = async <Body>(of: Parameters<Send>[0]): Promise<Body> =>
    bodyOf<Body>(await send(of), `${of.method} ${of.path.split("?")[0]}`);
  return {
    follow: (resource, followOptions) => follow(send, resource, followOptions),
    get: async (resource, place) => {
      const response = await send({ method: "GET", path: pathOf(resource, place) });
      if (response.status !== 404) return bodyOf(response, pathOf(resource, place));
      await response.text();
      return undefined;
    },
    list: async (resource, { namespace, labelSelector } = {}) => {
      const query = labelSelector === undefined ? "" : `?${new URLSearchParams({ labelSelector })}`;
      const place = namespace === undefined ? {} : { namespace };
      const path = `${pathOf(resource, place)}${query}`;
      return (await request<{ items: never[] }>({ method: "GET", path })).items;
    },
    create: (resource, object) => {
      const { namespace } = (object as { metadata: { namespace?: string } }).metadata;
      const path = pathOf(resource, namespace === undefined ? {} : { namespace });
      return request({ method: "POST", path, body: object });
    },
    apply: (resource, object, { manager, subresource, force = false }) => {
      const { namespace, name } = object.metadata;
      const place = {
        name,
        ...(namespace === undefined ? {} : { namespace }),
        ...(subresource === undefined ? {} : { subresource }),
      };
      const query = new URLSearchParams({ fieldManager: manager, force: String(force) });
      const path = `${pathOf(resource, place)}?${query}`;
      const contentType = "application/apply-patch+yaml";
      return request({ method: "PATCH", path, body: object, contentType });
    },
    merge: (resource, place, patch) => {
      const contentType = "application/merge-patch+json";
      return request({ method: "PATCH", path: pathOf(resource, place), body: patch, contentType });
    },
    delete: async (resource, place, { uid, gracePeriodSeconds } = {}) => {
      const path = pathOf(resource, place);
      const body = {
        ...(uid === undefined ? {} : { preconditions: { uid } }),
        ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
      };
      const response = await send({ method: "DELETE", path, body });
      if (response.status === 404) return void (await response.text());
      await bodyOf(response, `DELETE ${path}`);
    },
    mayI: (question) => mayI(request, question),
    version: async () =>
      (await request<{ gitVersion: string }>({ method: "GET", path: "/version" })).gitVersion,
  };
}

async function mayI(
  request: <Body>(of: Parameters<Send>[0]) => Promise<Body>,
  { verb, group, resource, namespace }: AccessQuestion,
): Promise<boolean> {
  const [name, subresource] = resource.split("/");
  const resourceAttributes = { verb, group, resource: name, subresource, namespace };
  const { status } = await request<{ status: { allowed: boolean } }>({
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    body: {
      ...{ apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview" },
      spec: { resourceAttributes },
    },
  });
  return status.allowed;
}
