/** Numbers and times as people read them. */

export function ago(time: string | null, nowMs: number): string {
  if (time === null) return "-";
  return seconds((nowMs - Date.parse(time)) / 1000);
}

export function seconds(total: number | null): string {
  if (total === null || !Number.isFinite(total)) return "-";
  const s = Math.max(0, Math.round(total));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${String(s % 60).padStart(2, "0")}s`;
  return `${Math.floor(s / 3600)}h${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}m`;
}

export function bytes(count: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

export function metric(value: number): string {
  return Math.abs(value) < 0.001 && value !== 0 ? value.toExponential(2) : value.toFixed(4);
}

export function percent(part: number, whole: number | null): string {
  return whole === null || whole === 0 ? "-" : `${Math.floor((part / whole) * 100)}%`;
}
