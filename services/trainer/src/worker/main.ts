/** A worker's process. Its agent starts it; SIGTERM asks it to leave in good order. */
import { loadEarly } from "./early-engine.ts";

loadEarly(process.env);
const { runProcess } = await import("./process.ts");
await runProcess(process.env);
