/** Where in the user's program something was called: " at mlp.ts:12", or nothing when nobody knows. */

/** Formatted only when asked for: that is the dear part. */
export type CallPlace = () => string;

const framesMax = 100;
/** Frames of the platform, of TensorFlow.js and of Node. */
const isForeign = /node:|node_modules|\/libs\/(engine|program)\/|\/services\/trainer\//;
const frame = /\(?((?:file:\/\/)?\/[^()]*?):(\d+):\d+\)?$/;

export function whereCalled(): CallPlace {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = framesMax;
  const error = new Error("place");
  Error.stackTraceLimit = limit;
  return () => placeIn(error.stack ?? "");
}

/** The innermost frame that is the user's, by file name and line. */
export function placeIn(stack: string): string {
  for (const line of stack.split("\n").slice(1)) {
    const found = isForeign.test(line) ? undefined : frame.exec(line.trim());
    if (found) return ` at ${found[1]!.split("/").at(-1)}:${found[2]}`;
  }
  return "";
}
