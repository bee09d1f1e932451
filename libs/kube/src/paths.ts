/** Addresses of the Kubernetes API. */
import type { KubeObject, Resource } from "./port.ts";

export interface Place {
  /** Absent for all namespaces, and for kinds that lie in none. */
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

export function pathOf(resource: Resource<KubeObject>, place: Place): string {
  const { apiVersion, isNamespaced, plural } = resource;
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const { namespace, name, subresource } = place;
  const within = isNamespaced && namespace !== undefined ? `/namespaces/${namespace}` : "";
  const parts = [name, subresource].filter((part) => part !== undefined).map(encodeURIComponent);
  return [`${root}${within}/${plural}`, ...parts].join("/");
}
