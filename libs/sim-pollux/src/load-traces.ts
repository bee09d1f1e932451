/** Reads the published traces (OSDI'21 artifact of Pollux) and the grid that was derived from them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Application, type StepTimes, type TimesByBatch, type Validation } from "./application.ts";

/** A job as it was submitted. The tuned sizes are for policies that do not adapt them. */
export interface Submission {
  readonly name: string;
  readonly application: string;
  readonly submitSeconds: number;
  readonly workers: number;
  readonly batch: number;
}

export type Applications = ReadonlyMap<string, Application>;

interface GridFile {
  readonly [application: string]: {
    readonly m0: number;
    readonly maxBatch: number;
    readonly minLocal: number;
    readonly maxLocal: number;
    readonly epochs: number;
    readonly localBszGrid: readonly number[];
    readonly table: Readonly<Record<string, readonly (readonly [number, number] | null)[]>>;
  };
}

export function loadApplications(folder: string): Applications {
  const grids = JSON.parse(readFileSync(join(folder, "throughput-grid.json"), "utf8")) as GridFile;
  return new Map(
    Object.entries(grids).map(([name, grid]) => {
      const traces = join(folder, "traces", name);
      const application = new Application({
        name,
        limits: {
          base: grid.m0,
          max: grid.maxBatch,
          localMin: grid.minLocal,
          localMax: grid.maxLocal,
        },
        epochs: grid.epochs,
        placements: placementsOf(readTable(join(traces, "placements.csv"))),
        grid: gridOf(grid),
        validations: validationsOf(traces),
      });
      return [name, application] as const;
    }),
  );
}

export function loadWorkload(folder: string, index: number): readonly Submission[] {
  return readTable(join(folder, "workloads", `workload-${index}.csv`)).map((row) => ({
    name: row["name"]!,
    application: row["application"]!,
    submitSeconds: Number(row["time"]),
    workers: Number(row["num_replicas"]),
    batch: Number(row["batch_size"]),
  }));
}

/** The authors' own completion times, in seconds after submission, of every job of a workload. */
export function loadPublished(
  folder: string,
  policy: "pollux" | "tiresias" | "optimus",
  index: number,
): Readonly<Record<string, number>> {
  const file = join(folder, "published", `${policy}-1.0.json`);
  const { jcts } = JSON.parse(readFileSync(file, "utf8")) as {
    readonly jcts: Readonly<Record<string, Readonly<Record<string, number>>>>;
  };
  return jcts[`workload-${index}`]!;
}

type Row = Readonly<Record<string, string>>;

/** A table without quotes: the first line names the columns. */
function readTable(file: string): Row[] {
  const [head, ...lines] = readFileSync(file, "utf8").trim().split(/\r?\n/);
  const names = head!.split(",");
  return lines.map((line) => {
    const cells = line.split(",");
    return Object.fromEntries(names.map((name, index) => [name, cells[index] ?? ""]));
  });
}

function placementsOf(rows: readonly Row[]): ReadonlyMap<string, TimesByBatch> {
  const groups = Map.groupBy(rows, (row) => row["placement"]!);
  return new Map(
    [...groups].map(([placement, group]) => [
      placement,
      group
        .map((row) => [Number(row["local_bsz"]), timesOf(row)] as const)
        .sort(([a], [b]) => a - b),
    ]),
  );
}

const timesOf = (row: Row): StepTimes => ({
  stepSeconds: Number(row["step_time"]),
  syncSeconds: Number(row["sync_time"]),
});

function gridOf({ localBszGrid, table }: GridFile[string]): ReadonlyMap<string, TimesByBatch> {
  return new Map(
    Object.entries(table).map(([key, cells]) => [
      key,
      localBszGrid.flatMap((samples, index) => {
        const cell = cells[index];
        if (cell === null || cell === undefined) return [];
        return [[samples, { stepSeconds: cell[0], syncSeconds: cell[1] }] as const];
      }),
    ]),
  );
}

function validationsOf(folder: string): Validation[] {
  return readdirSync(folder)
    .filter((file) => file.startsWith("validation-"))
    .map((file) => {
      const rows = readTable(join(folder, file));
      return {
        batch: Number(/\d+/.exec(file)![0]),
        progress: rows.map((row) => Number(row["progress"])),
        iterations: rows.map((row) => Number(row["iteration"])),
        noise: rows.map((row) => ({
          squaredNorm: Number(row["grad_sqr"]),
          variance: Number(row["grad_var"]),
        })),
      };
    })
    .sort((a, b) => a.batch - b.batch);
}
