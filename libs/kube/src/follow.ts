/**
 * A view of a kind that is kept current: list, watch from there, and go on for ever.
 *
 * A watch that ends is taken up where it ended; bookmarks move that place on while nothing happens.
 * A place that the server has forgotten (410), and every resync, is a new list. What cannot be
 * reached is tried again with growing pauses. Whoever looks sees levels, never edges: an event that
 * was missed shows at the next list.
 */
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "@coxswain/domain";
import type { Response } from "undici";
import { pathOf } from "./paths.ts";
import type { Follower, FollowOptions, KubeObject, Resource } from "./port.ts";
import { bodyOf, errorOf, type Send, type Status } from "./request.ts";

const pageSize = 500;
const watchSeconds = 300;
/** Bookmarks come about once a minute: a connection that is silent for longer is dead. */
const silenceMsMax = 120_000;
const resyncMs = 600_000;
const pauseMs = 200;
const pauseMsMax = 10_000;

interface List<Object> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly Object[];
}

interface WatchEvent<Object> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: Object | Status;
}

export function follow<Object extends KubeObject, Kept>(
  send: Send,
  resource: Resource<Object>,
  options: FollowOptions<Object, Kept>,
): Follower<Kept> {
  const view = new View(send, resource, options);
  return {
    objects: view.objects,
    synced: view.synced.promise,
    counts: view.counts,
    done: view.run(),
    get isSynced() {
      return view.counts.lists > 0;
    },
  };
}

class View<Object extends KubeObject, Kept> {
  readonly objects = new Map<string, Kept>();
  readonly synced = Promise.withResolvers<void>();
  readonly counts = { lists: 0, watches: 0, events: 0 };
  readonly #send: Send;
  readonly #resource: Resource<Object>;
  readonly #options: FollowOptions<Object, Kept>;
  /** Where the next watch begins; undefined: list first. */
  #position: string | undefined;
  #listedAtMs = 0;

  constructor(send: Send, resource: Resource<Object>, options: FollowOptions<Object, Kept>) {
    this.#send = send;
    this.#resource = resource;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const isDue = performance.now() - this.#listedAtMs > resyncMs;
        if (this.#position === undefined || isDue) await this.#list();
        await this.#watch();
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        if (!(error instanceof AppError)) throw error;
        if (error.code === "kubernetes-expired") {
          this.#position = undefined;
          continue;
        }
        const ms = Math.min(pauseMsMax, pauseMs * 2 ** failures);
        failures += 1;
        await delay(ms, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  #path(query: Readonly<Record<string, string>>): string {
    const { namespace, labelSelector } = this.#options;
    const selected = labelSelector === undefined ? {} : { labelSelector };
    const place = namespace === undefined ? {} : { namespace };
    return `${pathOf(this.#resource, place)}?${new URLSearchParams({ ...selected, ...query })}`;
  }

  async #list(): Promise<void> {
    const { keep, onChange, signal } = this.#options;
    const found = new Map<string, Kept>();
    let page: List<Object> | undefined;
    do {
      const more = page?.metadata.continue;
      const query = { limit: String(pageSize), ...(more === undefined ? {} : { continue: more }) };
      const path = this.#path(query);
      page = await bodyOf<List<Object>>(await this.#send({ method: "GET", path, signal }), path);
      // Items of lists come without their kind.
      const { apiVersion, kind } = this.#resource;
      for (const item of page.items) found.set(keyOf(item), keep({ ...item, apiVersion, kind }));
    } while (page.metadata.continue);
    this.objects.clear();
    for (const [key, kept] of found) this.objects.set(key, kept);
    this.#position = page.metadata.resourceVersion;
    this.#listedAtMs = performance.now();
    this.counts.lists += 1;
    this.synced.resolve();
    onChange();
  }

  async #watch(): Promise<void> {
    const silence = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, silence.signal]);
    let timer = setTimeout(() => silence.abort(), silenceMsMax);
    const path = this.#path({
      watch: "true",
      allowWatchBookmarks: "true",
      timeoutSeconds: String(watchSeconds),
      resourceVersion: this.#position!,
    });
    try {
      const response = await this.#send({ method: "GET", path, signal });
      if (!response.ok) await bodyOf(response, path);
      this.counts.watches += 1;
      for await (const line of linesOf(response)) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), silenceMsMax);
        this.#take(JSON.parse(line) as WatchEvent<Object>, path);
      }
    } catch (error) {
      if (error instanceof AppError) throw error;
      const sentence = `${path}: the watch broke off: ${error}`;
      throw new AppError("kubernetes-unavailable", sentence, { cause: error });
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  #take({ type, object }: WatchEvent<Object>, path: string): void {
    if (type === "ERROR") throw errorOf(object as Status, path);
    const known = object as Object;
    this.#position = known.metadata.resourceVersion!;
    if (type === "BOOKMARK") return;
    this.counts.events += 1;
    if (type === "DELETED") this.objects.delete(keyOf(known));
    else this.objects.set(keyOf(known), this.#options.keep(known));
    this.#options.onChange();
  }
}

function keyOf({ metadata: { namespace, name } }: KubeObject): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

async function* linesOf(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body ?? []) {
    const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") yield line;
  }
}
