export { Application, type ApplicationTrace } from "./application.ts";
export { cluster, type JobResult, type Policy, type RunResult, simulate } from "./cluster.ts";
export type { SimulatedJob } from "./job.ts";
export {
  type Applications,
  loadApplications,
  loadPublished,
  loadWorkload,
  type Submission,
} from "./load-traces.ts";
export { Goodput } from "./policies/goodput.ts";
export { Optimus } from "./policies/optimus.ts";
export { Tiresias } from "./policies/tiresias.ts";
