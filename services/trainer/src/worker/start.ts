/**
 * How a container starts a worker. Its first process hears no signal that it has no handler for, so
 * the ear is opened before the worker is loaded, which takes seconds: whoever is asked to leave by
 * then just leaves.
 */
process.once("SIGTERM", () => process.exit(0));

await import("./main.ts");

export {};
