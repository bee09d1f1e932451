/** A worker's process. Its agent starts it; SIGTERM asks it to leave in good order. */
import { claimStart } from "../agent/notes.ts";
import { loadEarly } from "./early-engine.ts";

if (!(await claimStart(process.env["COXSWAIN_START_FILE"], process.pid))) {
  console.error("This worker was given up before it had started; it ends.");
  process.exit(0);
}
loadEarly(process.env);
const { runProcess } = await import("./process.ts");
await runProcess(process.env);
