/**
 * What TensorFlow is told when it is opened: bytes of a tensorflow.ConfigProto. The field numbers are
 * those of config.proto and rewriter_config.proto.
 */
import { MessageWriter } from "./message-writer.ts";

const fields = {
  ...{ intraThreads: 2, interThreads: 5, gpuOptions: 6 },
  ...{ allowsSoftPlacement: 7, graphOptions: 10, experimental: 16 },
} as const;
const allowGrowth = 4;
const rewriteOptions = 10;
const disableMetaOptimizer = 19;
const executorType = 3;

/** Memory as it is needed, instead of the whole GPU's; operators that GPUs lack run on the processor. */
function withGpu(config: MessageWriter, hasGpu: boolean): MessageWriter {
  if (!hasGpu) return config;
  return config
    .message(fields.gpuOptions, (options) => options.int(allowGrowth, 1))
    .int(fields.allowsSoftPlacement, 1);
}

/** For operators that run one by one. */
export function contextConfig(hasGpu: boolean): Uint8Array {
  const config = new MessageWriter().int(fields.intraThreads, 1).int(fields.interThreads, 1);
  return withGpu(config, hasGpu).done();
}

/**
 * For recorded functions. A worker has one core: everything runs on the calling thread, no other one
 * is woken; but for a GPU, whose operators end later than they return. TensorFlow does not
 * rewrite the graph: its operators have the bits that they have one by one.
 */
export function functionConfig(hasGpu: boolean): Uint8Array {
  const config = new MessageWriter()
    .int(fields.intraThreads, 1)
    .int(fields.interThreads, hasGpu ? 1 : -1)
    .message(fields.graphOptions, (graph) =>
      graph.message(rewriteOptions, (rewrite) => rewrite.int(disableMetaOptimizer, 1)),
    );
  if (hasGpu) return withGpu(config, true).done();
  return config
    .message(fields.experimental, (experimental) =>
      experimental.text(executorType, "SINGLE_THREADED_EXECUTOR"),
    )
    .done();
}

/** @param devices TensorFlow's names of them */
export const seesGpu = (devices: readonly string[]) =>
  devices.some((name) => name.includes("device:GPU:"));

/** The worker's first: it sees no GPU but its own. */
export const gpuDevice = "/device:GPU:0";
