export { ApiClient, ApiError, type Json } from "./io/api-client.ts";
export { auditThroughApi } from "./io/audit-job.ts";
export { type Bundle, bundleProgram } from "./io/bundle-program.ts";
export { type FollowedEvent, followEvents } from "./io/follow-events.ts";
export { applySettings, readJobFile, submitFile } from "./io/submit-file.ts";
export { pc } from "./render/colours.ts";
export { eventLine, metricsOf } from "./render/event-line.ts";
export { bytes, metric, seconds } from "./render/format.ts";
