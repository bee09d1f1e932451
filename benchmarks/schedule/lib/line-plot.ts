/** A line chart as SVG text: enough for curves over time, or over size. */

export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Plot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly lines: readonly Line[];
}

const size = { width: 760, height: 360, left: 64, right: 190, top: 40, bottom: 48 } as const;
const colours = ["#0b6fa4", "#d1495b", "#3d8b37", "#8a5fbf", "#c77d0a", "#555555"];

const escapeText = (text: string) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** Five or so round numbers from 0 to at least `most`. */
function ticks(most: number): number[] {
  const raw = Math.max(most, 1e-9) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw)!;
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, index) =>
    Number((index * step).toPrecision(12)),
  );
}

export function linePlot({ title, xLabel, yLabel, lines }: Plot): string {
  const all = lines.flatMap(({ points }) => points);
  const xTicks = ticks(Math.max(...all.map(([x]) => x)));
  const yTicks = ticks(Math.max(...all.map(([, y]) => y)));
  const [right, bottom] = [size.width - size.right, size.height - size.bottom];
  const xOf = (x: number) => size.left + ((right - size.left) * x) / xTicks.at(-1)!;
  const yOf = (y: number) => bottom - ((bottom - size.top) * y) / yTicks.at(-1)!;
  const text = (x: number, y: number, word: string, anchor = "middle") =>
    `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escapeText(word)}</text>`;
  const grid = yTicks.map(
    (y) =>
      `<path d="M${size.left} ${yOf(y).toFixed(1)}H${right}" stroke="#ddd"/>${text(size.left - 8, yOf(y) + 4, String(y), "end")}`,
  );
  const axis = xTicks.map((x) => text(xOf(x), bottom + 18, String(x)));
  const curves = lines.map(({ name, points }, index) => {
    const colour = colours[index % colours.length]!;
    const path = points.map(([x, y]) => `${xOf(x).toFixed(1)} ${yOf(y).toFixed(1)}`).join("L");
    const y = size.top + 10 + 20 * index;
    return `<path d="M${path}" fill="none" stroke="${colour}" stroke-width="1.8"/><path d="M${right + 12} ${y}h18" stroke="${colour}" stroke-width="3"/>${text(right + 36, y + 4, name, "start")}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<g font-size="15">${text((size.left + right) / 2, 22, title)}</g>`,
    ...grid,
    ...axis,
    text((size.left + right) / 2, size.height - 10, xLabel),
    `<g transform="rotate(-90 16 ${(size.top + bottom) / 2})">${text(16, (size.top + bottom) / 2, yLabel)}</g>`,
    ...curves,
    "</svg>\n",
  ].join("\n");
}
