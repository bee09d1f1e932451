/** What the control thread and the compute thread of a worker say to each other. */
import type { EngineSettings } from "@coxswain/domain";
import type { CompileOptions, Gpu, Layout, ProgramMode } from "@coxswain/engine";
import type { NoiseSample } from "@coxswain/goodput";
import type { ExchangeMode, Piece } from "../decide/shards.ts";
import type { BoardGroup } from "../exchange/group-exchange.ts";
import type { Areas } from "../exchange/memory.ts";
import type { FeedEnds } from "../feed/feed.ts";
import type { SaverEnds, Snapshot } from "./save-messages.ts";

export interface ComputeOptions {
  readonly engine: string;
  /** Those of the job's engine. */
  readonly settings: EngineSettings;
  /** This worker's, where the job's engine computes on one. */
  readonly gpu: Gpu | undefined;
  readonly cacheDir: string;
  readonly compile: Omit<CompileOptions, "onRecording" | "openData">;
  readonly exchange: ExchangeMode;
  readonly feed: FeedEnds;
}

/** What the compile thread is given: it reads what it needs of the data by itself. */
export type CompileThreadOptions = Omit<ComputeOptions, "feed">;

/** The first message to the compute thread: the program as data, or that it runs by operators. */
export interface ProgramMessage {
  readonly kind: "program";
  readonly recorded: Uint8Array | undefined;
}

/** What the compile thread made. */
export type CompileReply =
  /** The program's own step is about to run for the first time. */
  | { readonly kind: "recording" }
  | {
      readonly kind: "recorded";
      readonly data: Uint8Array;
      readonly initial: Float32Array;
      readonly xlaSeconds: number | undefined;
    }
  | { readonly kind: "eager"; readonly reason: string }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

export interface Compiled {
  readonly kind: "compiled";
  readonly identity: string;
  readonly hash: string;
  readonly mode: ProgramMode;
  readonly layout: Layout;
  readonly samplesTrain: number;
  readonly samplesTest: number;
  readonly modelTopology: Readonly<Record<string, unknown>> | undefined;
  /** That XLA has compiled in this thread; undefined without XLA. */
  readonly xlaSeconds?: number | undefined;
}

/** What an update computes here. */
export interface ComputeOrder {
  readonly step: number;
  /** Steps that the update takes, this one and those after it. */
  readonly steps: number;
  readonly pieces: readonly Piece[];
  /** A shard whose bits shall be told, one of the own or another. */
  readonly audit?: number | undefined;
  /** The pieces are added up with those of this group as well; absent: they are handed over. */
  readonly group?: BoardGroup | undefined;
  /** The sum is committed, and further updates after it, without asking; absent: the sum is told of. */
  readonly run?: RunOrder | undefined;
}

/** Like updates that follow each other, in one generation. */
export interface RunOrder {
  readonly ticket: number;
  readonly count: number;
  /** Updates of the run before this one. */
  readonly done: number;
  readonly learningRateFactor: number;
}

export interface ComputeUpdate extends Pick<ComputeOrder, "step" | "steps"> {
  /** Which of the two reduced vectors holds it. */
  readonly turn: 0 | 1;
  readonly learningRateFactor: number;
  /** Whether it is said when it is done. */
  readonly isAwaited: boolean;
}

export type ComputeRequest =
  | {
      readonly kind: "attach";
      readonly areas: Areas;
      readonly saver: SaverEnds;
      readonly gate: SharedArrayBuffer;
    }
  /** Fills the parameters from the seed and the slots with zeros. */
  | {
      readonly kind: "initialize";
      readonly id: number;
      /** For a program that is data: what its seed gives. */
      readonly parameters?: Float32Array;
    }
  /** The pieces to compute for this step; replaces the order before. What is finished is kept. */
  | ({
      readonly kind: "order";
      readonly order: number;
    } & ComputeOrder)
  /** From this step on, these will be the pieces: their data may be loaded. */
  | ({ readonly kind: "expect" } & Omit<ComputeOrder, "audit" | "group" | "run">)
  /** The reduced vector of this update is whole: update the parameters. */
  | ({ readonly kind: "apply" } & ComputeUpdate)
  /** A copy of floats `from <= i < to` of parameters and slots, as after what was asked before. */
  | {
      readonly kind: "copy";
      readonly id: number;
      readonly from: number;
      readonly to: number;
    }
  /** The state, as after what was asked before, shall be copied by the saver. */
  | { readonly kind: "snapshot"; readonly snapshot: Snapshot }
  /** Replaces parameters and slots. */
  | {
      readonly kind: "load";
      readonly id: number;
      readonly from: number;
      readonly floats: Float32Array;
    }
  /** A gradient for nobody, so that the next one is not the first. */
  | { readonly kind: "warm"; readonly id: number; readonly step: number }
  | { readonly kind: "evaluate"; readonly id: number };

/** Shards that were computed since it was told last, and the milliseconds that they took. */
export interface Work {
  readonly shards: number;
  readonly ms: number;
}

export type ComputeReply =
  | Compiled
  /** The program's own step is about to run for the first time. */
  | { readonly kind: "recording" }
  | {
      readonly kind: "piece";
      readonly order: number;
      readonly step: number;
      readonly piece: Piece;
      readonly buffer: number;
      readonly work: Work;
    }
  /** The group's sum is whole in the reduced vector of its turn. */
  | {
      readonly kind: "whole";
      readonly order: number;
      readonly step: number;
      readonly work: Work;
      /** Milliseconds since the last own piece. */
      readonly exchangeMs: number;
    }
  /** More updates of the order's run are committed: the gate says how many, and what each has to tell. */
  | {
      readonly kind: "ran";
      readonly order: number;
      /** All of them are. */
      readonly isOver: boolean;
      readonly work: Work;
    }
  | {
      readonly kind: "witness";
      readonly step: number;
      readonly shard: number;
      readonly sha256: string;
    }
  | { readonly kind: "applied"; readonly step: number }
  /** What a measured step shows of the gradient's noise. */
  | { readonly kind: "noise"; readonly sample: NoiseSample }
  | { readonly kind: "done"; readonly id: number }
  | {
      readonly kind: "copied";
      readonly id: number;
      readonly floats: Float32Array;
    }
  | {
      readonly kind: "evaluated";
      readonly id: number;
      readonly metrics: Readonly<Record<string, number>>;
    }
  | {
      readonly kind: "failed";
      readonly code: string;
      readonly message: string;
      readonly step: number;
    };
