/** Colours on a terminal only: a log file of a build machine is none, whatever its environment says. */
import picocolors from "picocolors";

export const pc = picocolors.createColors(
  picocolors.isColorSupported && process.stdout.isTTY === true,
);
