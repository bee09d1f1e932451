import { deepEqual, throws } from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Type } from "@coxswain/schema";
import { parseConfig } from "./config.ts";

const schema = Type.Object({
  TOKEN: Type.Optional(Type.String({ minLength: 1 })),
  PORT: Type.Integer({ default: 7, minimum: 0 }),
});
let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "coxswain-config-"));
  await writeFile(join(folder, "token"), "s3cret\n");
  await writeFile(join(folder, "empty"), "");
  await writeFile(join(folder, "port"), "9\r\n");
});
after(() => rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

test("a setting is a variable, or what its file holds without the last end of line", () => {
  deepEqual(parseConfig(schema, { TOKEN: "a", PORT: "8" }), { TOKEN: "a", PORT: 8 });
  const files = { TOKEN_FILE: at("token"), PORT_FILE: at("port") };
  deepEqual(parseConfig(schema, files), { TOKEN: "s3cret", PORT: 9 });
});

test("an empty variable is none", () => {
  deepEqual(parseConfig(schema, { TOKEN: "", TOKEN_FILE: "", PORT: "" }), { PORT: 7 });
});

const refused: Record<string, readonly [() => Record<string, string>, RegExp]> = {
  "both ways": [
    () => ({ TOKEN: "a", TOKEN_FILE: at("token") }),
    /give TOKEN or TOKEN_FILE, not both/,
  ],
  "a file that is not there": [() => ({ TOKEN_FILE: at("none") }), /TOKEN_FILE: ENOENT/],
  "a file that holds nothing": [() => ({ TOKEN_FILE: at("empty") }), /TOKEN: /],
  "a file that holds something else": [() => ({ PORT_FILE: at("token") }), /PORT: /],
  "all at once": [
    () => ({ TOKEN_FILE: at("none"), PORT: "x" }),
    /TOKEN_FILE: ENOENT.*PORT: must be integer/,
  ],
};
for (const [name, [environment, why]] of Object.entries(refused))
  test(`${name} is refused, and named`, () => {
    throws(() => parseConfig(schema, environment()), why);
  });
