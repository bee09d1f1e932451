/** What the engine `webgpu` and its thread say to each other. */
import type { CompileOptions, Layout } from "./port.ts";

export interface ThreadOptions {
  readonly cacheDir: string;
  readonly compile: Omit<CompileOptions, "openData" | "onRecording">;
  readonly shapes: {
    readonly inputShape: readonly number[];
    readonly labelShape: readonly number[];
    readonly samplesTrain: number;
    readonly samplesTest: number;
  };
  /** Element 0 counts answers. */
  readonly bell: SharedArrayBuffer;
}

export interface Request {
  readonly kind: "gradient" | "scores";
  readonly step: number;
  readonly shard: number;
  readonly inputs: Float32Array;
  readonly labels: Float32Array;
  /** Undefined: those of the request before. */
  readonly parameters: Float32Array | undefined;
}

interface Failed {
  readonly kind: "failed";
  readonly code: string;
  readonly message: string;
}

/** All outputs, one after the other. */
export type Answer = { readonly kind: "done"; readonly values: Float32Array } | Failed;

export type Ready =
  | {
      readonly kind: "ready";
      readonly layout: Layout;
      readonly initial: Float32Array;
      readonly modelTopology: Readonly<Record<string, unknown>> | undefined;
    }
  | Failed;
