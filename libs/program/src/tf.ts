/**
 * TensorFlow.js as programs see it: the core operators and the layers API under one name. The
 * engine decides which back end runs them.
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
const core = require("@tensorflow/tfjs-core") as typeof Core;
const layers = require("@tensorflow/tfjs-layers") as typeof Layers;

export const tf: TensorFlow = { ...core, ...layers } as unknown as TensorFlow;
export type Tensor = Core.Tensor;
export type LayersModel = Layers.LayersModel;
