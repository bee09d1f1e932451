/**
 * Which engine a job asks for, and which ones that allows. An engine's identity is one line of words;
 * three of them matter here: `isa-LEVEL` holds it to a level of instructions that other processors have
 * too, `xla` says that XLA compiles the steps, `gpu-…` that it computes on a GPU.
 */
import { type Static, Type } from "@coxswain/schema";

export const engineNames = ["auto", "native", "wasm", "webgpu"] as const;
export const isaLevels = ["avx2", "avx512"] as const;
export type IsaLevel = (typeof isaLevels)[number];

export const EngineSchema = Type.Union(
  [
    Type.Enum([...engineNames]),
    Type.Object(
      { name: Type.Literal("native"), isa: Type.Optional(Type.Enum([...isaLevels])) },
      { additionalProperties: false },
    ),
    Type.Object(
      { name: Type.Literal("native"), xla: Type.Boolean() },
      { additionalProperties: false },
    ),
  ],
  {
    default: "auto",
    description:
      "auto, native, wasm or webgpu; or {name: native, isa: avx2} to use no newer instructions, so that processors of several types compute the same bits; or {name: native, xla: true} to have XLA compile the steps.",
  },
);
export type EngineSpec = Static<typeof EngineSchema>;

/** How an engine computes, where it can in several ways; each has its own bits. */
export interface EngineSettings {
  /** No newer instructions are used than these; undefined: whatever the processor has. */
  readonly isa?: IsaLevel | undefined;
  /** XLA compiles the steps; undefined: TensorFlow's own kernels run one after the other. */
  readonly xla?: true | undefined;
}

interface Ask {
  readonly name: string;
  readonly isa?: IsaLevel | undefined;
  readonly xla?: boolean | undefined;
}

const askOf = (asked: string | Ask): Ask => (typeof asked === "string" ? { name: asked } : asked);

interface Known {
  readonly name: string;
  readonly identity: string;
}

export function settingsOf(identity: string): EngineSettings {
  const words = identity.split(" ");
  const isa = isaLevels.find((level) => words.includes(`isa-${level}`));
  return { ...(isa && { isa }), ...(words.includes("xla") && { xla: true }) };
}

export function needsGpu(identity: string): boolean {
  return identity.split(" ").some((word) => word.startsWith("gpu-"));
}

export function isEngineAsked(asked: EngineSpec, { name, identity }: Known): boolean {
  const { name: askedName, isa, xla = false } = askOf(asked);
  const has = settingsOf(identity);
  const isSame = has.isa === isa && (has.xla ?? false) === xla;
  const isNamed = askedName === name || (askedName === "auto" && name !== "webgpu");
  return isNamed && isSame;
}

/** An engine that nobody has, and that the job may run on. */
export function engineLike(asked: EngineSpec): Known {
  const { name, isa, xla } = askOf(asked);
  const words = [name, ...(isa ? [`isa-${isa}`] : []), ...(xla ? ["xla"] : [])];
  return { name, identity: words.join(" ") };
}

/** `native held to avx2`, `native with XLA`: what a person reads. */
export function engineText(asked: string | Ask): string {
  const { name, isa, xla } = askOf(asked);
  return `${name}${isa ? ` held to ${isa}` : ""}${xla ? " with XLA" : ""}`;
}
