/**
 * The simulated server against the real one: the same random operations, the same answers. What
 * the simulation proves is worth what this holds.
 */
import { deepEqual } from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ensureNatsServer, startNatsServer } from "@coxswain/embedded";
import { connect } from "@nats-io/transport-node";
import fc from "fast-check";
import { type Sequence, sequence } from "./differential/operations.ts";
import { play } from "./differential/play.ts";
import { openReal } from "./differential/real-side.ts";
import { openSimulated } from "./differential/simulated-side.ts";

/** So many sequences at once, each in a stream of its own. */
const lanes = 40;
const sequencesPerLane = 50;
const seed = 20_260_101;
/** Long for sequences that count on it, short for those that outlive it. */
const windowMsOf = ({ last }: Sequence) => (last?.kind === "window" ? 200 : 120_000);

test(`${lanes * sequencesPerLane} random sequences: the simulated server answers as nats-server does`, async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), "coxswain-differential-"));
  const { path } = await ensureNatsServer({ environment: process.env });
  const server = await startNatsServer({ binary: path, dataDir });
  const connection = await connect({ servers: server.url });
  t.after(async () => {
    await connection.close();
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  });
  const real = await openReal(connection);
  let count = 0;
  const agree = async (drawn: Sequence) => {
    count += 1;
    const options = { name: `D${count}`, shape: drawn.shape, windowMs: windowMsOf(drawn) };
    const [ours, theirs] = [await openSimulated(options), await real(options)];
    try {
      deepEqual(
        await play(ours, drawn, options.windowMs),
        await play(theirs, drawn, options.windowMs),
      );
    } finally {
      await theirs.close();
    }
  };
  const lane = (index: number) =>
    fc.assert(fc.asyncProperty(sequence, agree), {
      seed: seed + index,
      numRuns: sequencesPerLane,
    });
  await Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)));
});
