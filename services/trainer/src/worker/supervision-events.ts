/** What the first member tells the log of slow members and of audits that found a difference. */
import type { Bus } from "@coxswain/bus";
import type { JobId } from "@coxswain/domain";
import type { NewEvent } from "@coxswain/events";
import type { Audited } from "../decide/audit.ts";
import type { Slow } from "../decide/shares.ts";
import type { WorkerConfig } from "./config.ts";
import type { GroupMembership } from "./member.ts";

const timeoutMs = 60_000;

export function supervisionEvents(
  bus: Pick<Bus, "append">,
  config: Pick<WorkerConfig, "COXSWAIN_JOB_ID">,
  group: () => Pick<GroupMembership, "generation" | "step">,
): {
  readonly onSlowed: (slow: Slow) => void;
  readonly onDiffers: (audited: Audited) => void;
} {
  const jobId = config.COXSWAIN_JOB_ID as JobId;
  const say = (event: Pick<NewEvent, "name" | "id" | "payload">) =>
    void bus
      .append({ ...event, jobId, source: "trainer" } as NewEvent, { timeoutMs })
      .catch(() => undefined); // The generation that follows, or the next audit, says it again.
  return {
    onSlowed: (slow) => {
      const { generation, step } = group();
      const id = `${jobId}.worker.slowed.${slow.workerId}.g${generation}`;
      say({ name: "worker.slowed", id, payload: { generation, step, ...slow } });
    },
    onDiffers: ({ step, shard, votes, verdict }) => {
      if (verdict.kind === "equal") return;
      const { generation } = group();
      const id = `${jobId}.worker.disagreed.${step}.g${generation}`;
      const { workerId, reason } = verdict;
      const named = workerId === undefined ? {} : { workerId };
      const payload = { generation, step, shard, ...named, reason, votes: [...votes] };
      say({ name: "worker.disagreed", id, payload });
    },
  };
}
