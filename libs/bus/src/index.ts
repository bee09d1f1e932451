export { activeTraceparent } from "./append.ts";
export {
  type AssignmentRecord,
  type BucketName,
  type Buckets,
  type BucketValue,
  bucketNames,
  type MemberRecord,
  type MembershipRecord,
  type NodeRecord,
  type QueueRecord,
  type ReservationRecord,
  type SecretRecord,
  type ServiceRecord,
  type WantedWorker,
} from "./buckets.ts";
export type {
  Appended,
  AppendOptions,
  Bucket,
  Bus,
  ConnectOptions,
  ConsumeOptions,
  Entry,
  Followed,
  FollowOptions,
  Lease,
  LogLine,
  Verdict,
} from "./bus.ts";
export { type Clock, systemClock, within } from "./clock.ts";
export { checkVersion, connectBus } from "./connect.ts";
export { verdictOf } from "./consume.ts";
export { type FollowJobsOptions, followJobs, type JobsView } from "./follow-jobs.ts";
