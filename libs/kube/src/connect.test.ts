import { throws } from "node:assert/strict";
import { test } from "node:test";
import { connectKube } from "./connect.ts";

test("where no cluster is known, that is said", (t) => {
  const before = { ...process.env };
  t.after(() => {
    process.env = before;
  });
  process.env = { HOME: "/nowhere" };
  throws(() => connectKube(), /invalid-config.*no Kubernetes cluster is known/);
});
