/**
 * What TensorFlow is told when it is opened: bytes of a tensorflow.ConfigProto. The field numbers are
 * those of config.proto and rewriter_config.proto.
 */
import { MessageWriter } from "./message-writer.ts";

const fields = { intraThreads: 2, interThreads: 5, graphOptions: 10, experimental: 16 } as const;
const rewriteOptions = 10;
const disableMetaOptimizer = 19;
const executorType = 3;

/** For operators that run one by one. */
export const contextConfig = new MessageWriter()
  .int(fields.intraThreads, 1)
  .int(fields.interThreads, 1)
  .done();

/**
 * For recorded functions. A worker has one core: everything runs on the calling thread, no other one
 * is woken. The graph is not rewritten, so that it has the bits of its operators run one by one.
 */
export const functionConfig = new MessageWriter()
  .int(fields.intraThreads, 1)
  .int(fields.interThreads, -1)
  .message(fields.graphOptions, (graph) =>
    graph.message(rewriteOptions, (rewrite) => rewrite.int(disableMetaOptimizer, 1)),
  )
  .message(fields.experimental, (experimental) =>
    experimental.text(executorType, "SINGLE_THREADED_EXECUTOR"),
  )
  .done();
