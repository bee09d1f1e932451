/** Reads a job's events through the API and audits them. */
import { type AuditReport, auditJob } from "@coxswain/audit";
import type { StoredEvent } from "@coxswain/events";
import type { ApiClient } from "./api-client.ts";
import { followEvents } from "./follow-events.ts";

export async function auditThroughApi(api: ApiClient, jobId: string): Promise<AuditReport> {
  const events: StoredEvent[] = [];
  for await (const event of followEvents(api, {
    jobId,
    follow: false,
    signal: new AbortController().signal,
  })) {
    events.push({
      ...event,
      timeMs: Date.parse(event.time),
      id: String(event.sequence),
    } as unknown as StoredEvent);
  }
  return auditJob(events);
}
