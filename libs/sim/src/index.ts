export {
  Calibration,
  coverage,
  type ForecastKind,
  forecastKinds,
  kindOf,
  type Score,
  scoreOf,
} from "./calibration.ts";
export { EventQueue } from "./event-queue.ts";
export {
  forecast,
  forecastJobsMax,
  forecastOf,
  type Interval,
  type JobForecast,
} from "./forecast.ts";
export { type QueuedJob, queuedJob } from "./queued-job.ts";
export {
  type Costs,
  type Decide,
  type Entry,
  measuredCosts,
  type Outcome,
  type Scenario,
  type SimulatedJob,
  type SimulatedNode,
  type SimulatedService,
  type Work,
} from "./scenario.ts";
export { simulate } from "./simulate.ts";
