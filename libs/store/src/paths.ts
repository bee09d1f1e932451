/** Which paths a store knows: see `Store`. */
import { AppError } from "@coxswain/domain";

const pathLengthMax = 1024;
const segmentRegExp = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/;
/** In the names of files that are being written. */
export const temporaryMark = ".tmp-";

/** @throws AppError `invalid-path` */
export function assertPath(path: string): void {
  const isPlain = (segment: string) =>
    segmentRegExp.test(segment) && !segment.includes(temporaryMark);
  if (path.length > pathLengthMax || !path.split("/").every(isPlain)) throw outside(path);
}

export function outside(path: string): AppError {
  return new AppError(
    "invalid-path",
    `${JSON.stringify(path.slice(0, 200))} is no path in the store`,
  );
}
