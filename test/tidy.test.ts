/** Rules that no linter knows. Each says what to do instead. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { errorCodes, TrainingJobSpecSchema } from "@coxswain/domain";
import { mutate } from "./sim/lib/mutate.ts";
import { mutations } from "./sim/mutations.ts";

const root = resolve(import.meta.dirname, "..");
const tracked = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((file) => file !== "" && existsSync(join(root, file)));
const read = (file: string) => readFileSync(join(root, file), "utf8");
const code = tracked.filter((file) => /\.(ts|mjs)$/.test(file));
const product = code.filter((file) => !/\.test\.ts$|^test\/|testing\.ts$/.test(file));
const services = readdirSync(join(root, "services"));

/** Lines of these files that match, as `file:line`. */
function found(files: readonly string[], pattern: RegExp): string[] {
  return files.flatMap((file) =>
    read(file)
      .split("\n")
      .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}`] : [])),
  );
}

test("randomness is an argument: Math.random stands in one file, which tames it", () => {
  deepEqual(
    found(
      product.filter((file) => file !== "libs/engine/src/deterministic.ts"),
      /Math\.random\(/,
    ),
    [],
  );
});

test("subjects are spelled in libs/events and libs/bus only, but for signs of life", () => {
  const elsewhere = product.filter((file) => !/^libs\/(events|bus)\//.test(file));
  deepEqual(found(elsewhere, /["'`](evt|dead|log)\.v1/), []);
});

test("every field of a job stands in docs/job-file.md", () => {
  const text = read("docs/job-file.md");
  const names = Object.entries(TrainingJobSpecSchema.properties).flatMap(([name, field]) =>
    "properties" in field ? Object.keys(field.properties).map((one) => `${name}.${one}`) : [name],
  );
  deepEqual(
    names.filter((name) => !text.includes(`\`${name}\``)),
    [],
  );
});

test("services never import each other", () => {
  const files = product.filter((file) => file.startsWith("services/"));
  const guilty = files.filter((file) => {
    const own = file.split("/")[1];
    return services.some(
      (name) =>
        name !== own &&
        new RegExp(`from "(@coxswain/${name}"|.*services/${name}/)`).test(read(file)),
    );
  });
  deepEqual(guilty, []);
});

test("libs never import services", () => {
  deepEqual(
    found(
      product.filter((file) => file.startsWith("libs/")),
      /from ".*services\//,
    ),
    [],
  );
});

test("each service has the same files", () => {
  for (const service of services) {
    for (const file of [
      "README.md",
      "package.json",
      "src/main.ts",
      "src/config.ts",
      "src/service.ts",
    ]) {
      ok(
        existsSync(join(root, "services", service, file)),
        `services/${service}/${file} is missing`,
      );
    }
    ok(
      existsSync(join(root, "services", service, "src/decide")),
      `services/${service} decides nowhere`,
    );
  }
});

test("each service's README says what it hears, says, keeps, bounds, and how it fails", () => {
  for (const service of services) {
    const text = read(`services/${service}/README.md`);
    for (const word of ["hears", "says", "keeps", "bounds", "fails how"])
      ok(text.includes(`**${word}**`), `${service}: ${word}`);
  }
});

test("decisions are synchronous", () => {
  const decisions = product.filter((file) => /\/decide\/|^libs\/scheduling\//.test(file));
  ok(decisions.length > 5);
  deepEqual(found(decisions, /\bawait\b|\basync\b/), []);
});

test("only main files, scripts and benchmarks read the environment", () => {
  const files = product.filter(
    (file) => !/main\.ts$|^scripts\/|^benchmarks\/|^libs\/cli\/bin\//.test(file),
  );
  deepEqual(found(files, /process\.env\b/), []);
});

test("no path of one machine, no address of a registry", () => {
  const texts = tracked.filter(
    (file) => /\.(ts|mjs|json|md|ya?ml|sh)$|^\.ci\/run$/.test(file) && file !== "test/tidy.test.ts",
  );
  deepEqual(found(texts, /(^|[^\w.~])\/(work|home|root)\/\w/), []);
  deepEqual(found(texts, /https?:\/\/[\w.-]*(registry|mirror|proxy)[\w.-]*\//), []);
});

test("the lock file carries no resolved addresses", () => {
  deepEqual(found(["package-lock.json"], /"resolved": "http/), []);
});

test("each error code says what to do, in a sentence", () => {
  for (const [name, { fix, status }] of Object.entries(errorCodes)) {
    ok(/^[A-Z`].*[.]$|\}\.$/.test(fix), `${name}: ${fix}`);
    ok(status >= 400 && status < 600, name);
  }
});

test("each library that we lean on is named in ADR 0007", () => {
  const adr = read("docs/adr/0007-libraries.md");
  const names = new Set(
    tracked
      .filter((file) => /(^|\/)package\.json$/.test(file))
      .flatMap((file) => {
        const { dependencies = {}, devDependencies = {} } = JSON.parse(read(file)) as {
          dependencies?: Record<string, string>;
          devDependencies?: Record<string, string>;
        };
        return Object.keys({ ...dependencies, ...devDependencies });
      })
      .filter((name) => !/^@coxswain\/|^@types\//.test(name)),
  );
  const isNamed = (name: string) =>
    adr.includes(name) || (name.startsWith("@") && adr.includes(`${name.split("/")[0]}/`));
  deepEqual(
    [...names].filter((name) => !isNamed(name)),
    [],
  );
});

test("each package declares what its sources import: an image has nothing else", () => {
  const packages = tracked.filter((file) =>
    /^(libs|services|examples)\/.*package\.json$/.test(file),
  );
  const undeclared = packages.flatMap((file) => {
    const { name, dependencies = {} } = JSON.parse(read(file)) as {
      name: string;
      dependencies?: Record<string, string>;
    };
    const known = new Set([name, ...Object.keys(dependencies)]);
    const folder = file.slice(0, -"package.json".length);
    const imports = product
      .filter((source) => source.startsWith(folder))
      .flatMap((source) => [...read(source).matchAll(/(?:from|import)[ (]*"([^".][^"]*)"/g)])
      .map(([, specifier]) => specifier!)
      .filter((specifier) => !specifier.startsWith("node:"))
      .map((specifier) => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/"));
    return [...new Set(imports)].filter((one) => !known.has(one)).map((one) => `${name}: ${one}`);
  });
  deepEqual(undeclared, []);
});

test("no test is skipped for ever, and none runs alone", () => {
  deepEqual(
    found(
      code.filter((file) => /\.test\.ts$/.test(file) && file !== "test/tidy.test.ts"),
      /\b(test|it|describe)\.(only|todo)\b/,
    ),
    [],
  );
});

test("what the simulation's mutations change stands where they look for it", () => {
  for (const mutation of mutations) ok(mutate(mutation, read(mutation.file)));
});

test("commands in the README exist", () => {
  const scripts = Object.keys(
    (JSON.parse(read("package.json")) as { scripts: Record<string, string> }).scripts,
  );
  const named = [...read("README.md").matchAll(/npm run ([a-z]+)/g)].map(([, name]) => name!);
  equal(
    named.every((name) => scripts.includes(name)),
    true,
    named.join(),
  );
});
