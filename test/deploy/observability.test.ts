import { deepEqual, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { instruments } from "@coxswain/service";
import { parse } from "yaml";

const root = resolve(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** The names under which Prometheus keeps the platform's metrics. */
const kept = new Set(
  Object.values(instruments).flatMap(({ name, kind }) => {
    const base = name.replaceAll(".", "_");
    return kind === "counter" ? [`${base}_total`] : [`${base}_bucket`];
  }),
);
const namesIn = (text: string) => [...new Set(text.match(/\bcoxswain_[a-z_]+/g))];

for (const path of ["deploy/grafana/coxswain.json", "deploy/prometheus/alerts.yml"]) {
  test(`${path} asks only for metrics that exist`, () => {
    const names = namesIn(read(path));
    ok(names.length > 0);
    deepEqual(
      names.filter((name) => !kept.has(name)),
      [],
    );
  });
}

test("the dashboard shows every metric of our own", () => {
  const shown = new Set(namesIn(read("deploy/grafana/coxswain.json")));
  const ours = [...kept].filter((name) => name.startsWith("coxswain_"));
  deepEqual(
    ours.filter((name) => !shown.has(name)),
    [],
  );
});

test("each alert has its place in the runbook, and each place its alert", () => {
  const { groups } = parse(read("deploy/prometheus/alerts.yml")) as {
    readonly groups: { readonly rules: { alert: string; annotations: { runbook: string } }[] }[];
  };
  const rules = groups.flatMap((group) => group.rules);
  const headings = [...read("docs/runbook.md").matchAll(/^## (.*)$/gm)].map(([, name]) => name);
  deepEqual(
    rules.map(({ alert }) => alert),
    headings,
  );
  for (const { alert, annotations } of rules)
    deepEqual(annotations.runbook, `docs/runbook.md#${alert.toLowerCase()}`);
});
