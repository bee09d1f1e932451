/** Completion times of a workload's jobs, and what is reported of them. */

export interface JobTime {
  readonly name: string;
  readonly application: string;
  readonly submitSeconds: number;
  readonly completionSeconds: number;
}

export interface Summary {
  readonly avgJctHours: number;
  readonly medianJctHours: number;
  readonly p99JctHours: number;
  readonly makespanHours: number;
}

/** Each figure is the mean over the workloads of that of the workload, as the authors report it. */
export function summaryOf(workloads: readonly (readonly JobTime[])[]): Summary {
  const each = workloads.map((jobs) => {
    const hours = jobs.map(({ completionSeconds }) => completionSeconds / 3600);
    return {
      avgJctHours: mean(hours),
      medianJctHours: quantile(hours, 0.5),
      p99JctHours: quantile(hours, 0.99),
      makespanHours:
        Math.max(
          ...jobs.map(({ submitSeconds, completionSeconds }) => submitSeconds + completionSeconds),
        ) / 3600,
    };
  });
  const over = (key: keyof Summary) => mean(each.map((one) => one[key]));
  return {
    avgJctHours: over("avgJctHours"),
    medianJctHours: over("medianJctHours"),
    p99JctHours: over("p99JctHours"),
    makespanHours: over("makespanHours"),
  };
}

export const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Linear between the two nearest ranks, as numpy does it and so the authors. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  return low + (sorted[Math.ceil(at)]! - low) * (at - Math.floor(at));
}

/** Mean number of jobs, itself included, that were there while each job was. */
export function contentionOf(jobs: readonly JobTime[]): number[] {
  return jobs.map((job) => {
    const end = job.submitSeconds + job.completionSeconds;
    const shared = jobs.reduce((sum, other) => {
      const otherEnd = other.submitSeconds + other.completionSeconds;
      const overlap = Math.min(end, otherEnd) - Math.max(job.submitSeconds, other.submitSeconds);
      return sum + Math.max(0, overlap);
    }, 0);
    return shared / job.completionSeconds;
  });
}
