/**
 * TensorFlow.js as programs see it: the core operators and the layers API under one name. The
 * engine decides which back end runs them. It is loaded when it is first used: a worker that runs a
 * compiled program imports the user's module for its data and optimizer, and never uses it.
 */
import { createRequire } from "node:module";
import type * as Core from "@tensorflow/tfjs-core";
import type * as Layers from "@tensorflow/tfjs-layers";

// CommonJS on purpose: there must be one instance of the core, whoever asks for it.
const require = createRequire(import.meta.url);

export type TensorFlow = typeof Core &
  Pick<
    typeof Layers,
    | "layers"
    | "sequential"
    | "model"
    | "input"
    | "initializers"
    | "regularizers"
    | "loadLayersModel"
  >;

let loaded: TensorFlow | undefined;

function load(): TensorFlow {
  loaded ??= {
    ...(require("@tensorflow/tfjs-core") as typeof Core),
    ...(require("@tensorflow/tfjs-layers") as typeof Layers),
  } as unknown as TensorFlow;
  return loaded;
}

export const tf: TensorFlow = new Proxy({} as TensorFlow, {
  get: (_, name) => Reflect.get(load(), name),
  has: (_, name) => Reflect.has(load(), name),
});
export type Tensor = Core.Tensor;
export type LayersModel = Layers.LayersModel;
