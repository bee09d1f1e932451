/** Limits of a submission, in one place. */
export const jobLimits = {
  workersMax: 64,
  shardsMax: 256,
  batchSizeMax: 65_536,
  stepsMax: 100_000_000,
  epochsMax: 100_000,
  bundleBytesMax: 8 * 1024 * 1024,
  specBytesMax: 256 * 1024,
} as const;
