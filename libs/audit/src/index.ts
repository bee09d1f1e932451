export { type AuditOptions, auditJob } from "./audit-job.ts";
export type { AuditedGeneration, AuditReport, Violation, ViolationKind } from "./report.ts";
