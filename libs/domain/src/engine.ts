/**
 * Which engine a job asks for, and which ones that allows. An engine's identity is one line of words;
 * two of them matter here: `isa-LEVEL` holds it to a level of instructions that other processors have
 * too, `gpu-…` says that it computes on a GPU.
 */
import { type Static, Type } from "@coxswain/schema";

export const engineNames = ["auto", "native", "wasm"] as const;
export const isaLevels = ["avx2", "avx512"] as const;
export type IsaLevel = (typeof isaLevels)[number];

export const EngineSchema = Type.Union(
  [
    Type.Enum([...engineNames]),
    Type.Object(
      { name: Type.Literal("native"), isa: Type.Optional(Type.Enum([...isaLevels])) },
      { additionalProperties: false },
    ),
  ],
  {
    default: "auto",
    description:
      "auto, native or wasm; or {name: native, isa: avx2} to use no newer instructions, so that processors of several types compute the same bits.",
  },
);
export type EngineSpec = Static<typeof EngineSchema>;

interface Ask {
  readonly name: string;
  readonly isa?: IsaLevel | undefined;
}

const askOf = (asked: string | Ask): Ask => (typeof asked === "string" ? { name: asked } : asked);

interface Known {
  readonly name: string;
  readonly identity: string;
}

/** The level of instructions that an engine is held to; undefined: whatever its processor has. */
export function isaOf(identity: string): IsaLevel | undefined {
  return isaLevels.find((level) => identity.split(" ").includes(`isa-${level}`));
}

export function needsGpu(identity: string): boolean {
  return identity.split(" ").some((word) => word.startsWith("gpu-"));
}

export function isEngineAsked(asked: EngineSpec, { name, identity }: Known): boolean {
  const { name: askedName, isa } = askOf(asked);
  return (askedName === "auto" || askedName === name) && isaOf(identity) === isa;
}

/** An engine that nobody has, and that the job may run on. */
export function engineLike(asked: EngineSpec): Known {
  const { name, isa } = askOf(asked);
  return { name, identity: isa === undefined ? name : `${name} isa-${isa}` };
}

/** `native held to avx2`: what a person reads. */
export function engineText(asked: string | Ask): string {
  const { name, isa } = askOf(asked);
  return isa === undefined ? name : `${name} held to ${isa}`;
}
