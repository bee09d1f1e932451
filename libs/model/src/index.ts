export {
  type ExportedModel,
  type ExportedTensor,
  loadExportedModel,
} from "./load-exported-model.ts";
export { decodeSafetensors, encodeSafetensors, type NamedTensor } from "./safetensors.ts";
