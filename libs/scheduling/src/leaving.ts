/**
 * Which of a job's workers goes so that somebody else finds room: the one whose going makes room for
 * most of what asks, so that few go. On a node of 12 cores with two workers of 5, one that goes makes
 * room for two of 3, since what was of no use there before counts too; elsewhere perhaps for one.
 *
 * Where several can go, those that would go after it count: with 22 cores and four workers of 5, three
 * that go make room for four of 4. Of those that help alike it is the one that leaves the least unused
 * behind itself, and of those the youngest: the oldest hold the group's history.
 */
import { type Ask, isMeant, type Room } from "./room.ts";
import type { PlacedWorker } from "./snapshot.ts";
import { isWithin, sum, type Units } from "./vector.ts";

/** For whom room is made. */
export interface Newcomers {
  readonly ask: Ask;
  /** How many of them there are: beyond these, more room helps nobody. */
  readonly count: number;
}

export interface Leavers {
  /** Of one job, at least one, the youngest last. */
  readonly workers: readonly PlacedWorker[];
  readonly units: Units;
  /** How many workers, of this job and others, could go from a node. */
  readonly spareOn: (nodeId: string) => number;
}

interface Help {
  /** For how many more there would be room, for each that goes. */
  readonly gain: number;
  /** What would be left unused; without a gain: what would still lack. As a part of one newcomer. */
  readonly rest: number;
}

const noHelp: Help = { gain: -1, rest: 0 };
/** So many that would go after each other are thought of. */
const goingMax = 4;

export function bestToGo(room: Room, leavers: Leavers, newcomers: Newcomers): PlacedWorker {
  const { workers } = leavers;
  let goes = workers.at(-1)!;
  let best = helpOf(room, goes.nodeId, leavers, newcomers);
  for (let at = workers.length - 2; at >= 0; at -= 1) {
    const help = helpOf(room, workers[at]!.nodeId, leavers, newcomers);
    if (!isBetter(help, best)) continue;
    best = help;
    goes = workers[at]!;
  }
  return goes;
}

const isBetter = (a: Help, b: Help) => a.gain > b.gain || (a.gain === b.gain && a.rest < b.rest);

function helpOf(
  room: Room,
  nodeId: string,
  { units, spareOn }: Leavers,
  { ask, count }: Newcomers,
): Help {
  const node = room.nodeOf(nodeId);
  if (node === undefined || !isMeant(node, ask)) return noHelp;
  const before = Math.min(count, Math.floor(roomFor(ask.units, node.free)));
  const most = Math.min(goingMax, spareOn(nodeId));
  let best = noHelp;
  let free: Units = node.free;
  for (let going = 1; going === 1 || going <= most; going += 1) {
    free = sum(free, units);
    if (going > 1 && !isWithin(free, node.capacity)) break;
    const after = roomFor(ask.units, free);
    const fits = Math.min(count, Math.floor(after));
    const gain = (fits - before) / going;
    const help = { gain, rest: gain > 0 ? after - fits : 1 - after };
    if (isBetter(help, best)) best = help;
  }
  return best;
}

/** For how many there is room, by the resource of which there is least for them; not whole. */
function roomFor(need: Units, free: Units): number {
  let room = Number.POSITIVE_INFINITY;
  for (let index = 0; index < need.length; index += 1)
    if (need[index]! > 0) room = Math.min(room, free[index]! / need[index]!);
  return Math.max(0, room);
}
