/** What every compiled program says of itself, however it runs. */
import type { OpenedProgram } from "./open-program.ts";
import type { CompiledProgram, Layout } from "./port.ts";

export type MadeFacts = Pick<CompiledProgram, "hash" | "layout" | "modelTopology">;

export abstract class ProgramFacts implements MadeFacts {
  readonly hash: string;
  readonly layout: Layout;
  readonly modelTopology: CompiledProgram["modelTopology"];
  readonly samplesTrain: number;
  readonly samplesTest: number;
  readonly rule: CompiledProgram["rule"];
  readonly update: CompiledProgram["update"];

  constructor({ hash, layout, modelTopology }: MadeFacts, { data, optimizer }: OpenedProgram) {
    this.hash = hash;
    this.layout = layout;
    this.modelTopology = modelTopology;
    this.samplesTrain = data.train.samples;
    this.samplesTest = data.test.samples;
    this.rule = optimizer.rule;
    this.update = optimizer.update;
  }
}
