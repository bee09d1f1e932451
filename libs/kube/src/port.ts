/**
 * What we ask of Kubernetes: objects as plain data, and a view of a kind that is kept current.
 * `connectKube` gives the real thing; callers hold to this port.
 */

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** Times are RFC 3339 texts, as they are on the wire. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** A kind of object and where it lies; `Object` is what we read of it. */
export interface Resource<Object extends KubeObject> {
  readonly apiVersion: string;
  readonly kind: string;
  /** As in the address: `pods`. */
  readonly plural: string;
  readonly isNamespaced: boolean;
  /** Phantom: carries the type. */
  readonly example?: Object;
}

/** A kind's objects, kept current from a list and a watch; `namespace/name`, or the name alone. */
export interface Follower<Kept> {
  readonly objects: ReadonlyMap<string, Kept>;
  /** The first list is there. */
  readonly synced: Promise<void>;
  readonly isSynced: boolean;
  /** Ends with `signal`. */
  readonly done: Promise<void>;
  readonly counts: { readonly lists: number; readonly watches: number; readonly events: number };
}

export interface FollowOptions<Object extends KubeObject, Kept> {
  readonly namespace?: string;
  readonly labelSelector?: string;
  /** What is kept of an object: large clusters have many. */
  readonly keep: (object: Object) => Kept;
  /** An object came, went or changed, or all were listed again. */
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

export interface Kube {
  follow<Object extends KubeObject, Kept>(
    resource: Resource<Object>,
    options: FollowOptions<Object, Kept>,
  ): Follower<Kept>;
  get<Object extends KubeObject>(
    resource: Resource<Object>,
    place: { readonly namespace?: string; readonly name: string },
  ): Promise<Object | undefined>;
  list<Object extends KubeObject>(
    resource: Resource<Object>,
    options?: { readonly namespace?: string; readonly labelSelector?: string },
  ): Promise<Object[]>;
  /** @throws AppError `conflict` when it exists, `kubernetes-refused` with the server's sentence */
  create<Object extends KubeObject>(resource: Resource<Object>, object: object): Promise<Object>;
  /** Server-side apply. @throws AppError `conflict` when another manager holds a field and `force` is not set */
  apply<Object extends KubeObject>(
    resource: Resource<Object>,
    object: KubeObject,
    options: {
      readonly manager: string;
      readonly subresource?: "status";
      readonly force?: boolean;
    },
  ): Promise<Object>;
  /** JSON merge patch; with `metadata.resourceVersion` in it a compare-and-set. */
  merge<Object extends KubeObject>(
    resource: Resource<Object>,
    place: { readonly namespace?: string; readonly name: string },
    patch: object,
  ): Promise<Object>;
  /** Absent already is as good. With `uid` only that very object. */
  delete(
    resource: Resource<KubeObject>,
    place: { readonly namespace?: string; readonly name: string },
    options?: { readonly uid?: string; readonly gracePeriodSeconds?: number },
  ): Promise<void>;
  /** Whether this account may; from SelfSubjectAccessReview. */
  mayI(question: AccessQuestion): Promise<boolean>;
  /** Of the API server, such as `v1.35.4`. */
  version(): Promise<string>;
}

export interface AccessQuestion {
  readonly verb: string;
  readonly group: string;
  /** `pods`, or `pods/log`. */
  readonly resource: string;
  /** Absent: in all namespaces. */
  readonly namespace?: string;
}
