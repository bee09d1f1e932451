/**
 * What workers of this cluster are like: how many are wanted of each shape, over all jobs that run or
 * wait and all online services. Who is placed next is most likely one of these.
 */
import { compareText, isAlike } from "./snapshot.ts";
import type { Units } from "./vector.ts";

export interface Shape {
  readonly units: Units;
  /** Part of the workers that are wanted, 0 to 1. */
  readonly popularity: number;
}

/** The most popular ones; the rest changes no choice that matters. */
const shapesMax = 24;
/** Popularity in such parts: a job more or less of many changes nothing that was found out. */
const parts = 64;

export class Demand {
  readonly #byOwner = new Map<string, { readonly key: string; readonly workers: number }>();
  readonly #byShape = new Map<string, { readonly units: Units; workers: number }>();
  #shapes: readonly Shape[] = [];
  #isRead = true;

  /** `owner` is a job's id, or that of a service, with all that it wants. */
  set(owner: string, units: Units, workers: number): void {
    this.delete(owner);
    if (workers === 0) return;
    const key = units.join();
    this.#byOwner.set(owner, { key, workers });
    const known = this.#byShape.get(key);
    if (known === undefined) this.#byShape.set(key, { units, workers });
    else known.workers += workers;
    this.#isRead = false;
  }

  delete(owner: string): void {
    const own = this.#byOwner.get(owner);
    if (own === undefined) return;
    this.#byOwner.delete(owner);
    const shape = this.#byShape.get(own.key)!;
    shape.workers -= own.workers;
    if (shape.workers === 0) this.#byShape.delete(own.key);
    this.#isRead = false;
  }

  /** The most popular first; the same object as long as it reads the same. */
  get shapes(): readonly Shape[] {
    if (!this.#isRead) {
      const shapes = this.#read();
      if (!isAlike(shapes, this.#shapes)) this.#shapes = shapes;
      this.#isRead = true;
    }
    return this.#shapes;
  }

  #read(): Shape[] {
    const first = [...this.#byShape]
      .sort(([a, one], [b, other]) => other.workers - one.workers || compareText(a, b))
      .slice(0, shapesMax)
      .map(([, shape]) => shape);
    const all = first.reduce((sum, { workers }) => sum + workers, 0);
    return first
      .map(({ units, workers }) => ({
        units,
        popularity: Math.round((workers / all) * parts) / parts,
      }))
      .filter(({ popularity }) => popularity > 0)
      .sort((a, b) => b.popularity - a.popularity || compareText(a.units.join(), b.units.join()));
  }
}
