/** What a benchmark prints: where it ran, a table, and one JSON object as the last line. */
import { availableParallelism, cpus, release } from "node:os";
import Table from "cli-table3";

export function machine(): string {
  return `${cpus()[0]?.model.trim() ?? "unknown processor"}, ${availableParallelism()} cores, Linux ${release()}, Node ${process.version}`;
}

export function printTable(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): void {
  const table = new Table({ head: [...head], style: { head: [], border: [] } });
  for (const row of rows) table.push(row.map(String));
  console.log(`\n${machine()}\n${table.toString()}`);
}

export function printLastLine(value: object): void {
  console.log(JSON.stringify(value));
}
