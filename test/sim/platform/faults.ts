/** What is done to the platform. Whom it hits, and for how long, follows from two draws. */
import { pickOf } from "../lib/random.ts";
import type { Planned } from "../lib/scenario.ts";
import { leaseTtlMs, nodeTimeoutMs } from "./limits.ts";
import type { SimProcess } from "./process.ts";
import type { Users } from "./users.ts";
import type { PlatformWorld } from "./world.ts";

interface Fault {
  readonly name: string;
  readonly weight: number;
  /** Does it; returns false when there is nobody to do it to. */
  readonly inject: (world: PlatformWorld, users: Users, a: number, b: number) => boolean;
}

const awaitsMax = 60;
const hourMs = 3_600_000;

const serviceOf = (world: PlatformWorld, a: number): SimProcess =>
  pickOf(world.services, a)!.process;

function trainerOf(world: PlatformWorld, a: number) {
  const all = world.nodes.flatMap((node) => node.workers);
  return pickOf(all, a);
}

/** For so long, then as before. */
function during(world: PlatformWorld, ms: number, begin: () => void, end: () => void): boolean {
  begin();
  world.at(ms, end);
  return true;
}

export const faults: readonly Fault[] = [
  {
    name: "service killed",
    weight: 3,
    inject: (world, _, a) => {
      serviceOf(world, a).kill("killed");
      return true;
    },
  },
  {
    name: "service crashes at an await",
    weight: 6,
    inject: (world, _, a, b) => {
      serviceOf(world, a).dieAfter(Math.floor(b * awaitsMax));
      return true;
    },
  },
  {
    name: "service stopped, continued",
    weight: 4,
    inject: (world, _, a, b) => {
      serviceOf(world, a).pause(b * 3 * leaseTtlMs);
      return true;
    },
  },
  {
    name: "worker killed",
    weight: 4,
    inject: (world, _, a) => {
      trainerOf(world, a)?.process.kill("killed");
      return trainerOf(world, a) !== undefined;
    },
  },
  {
    name: "worker crashes at an await",
    weight: 3,
    inject: (world, _, a, b) => {
      trainerOf(world, a)?.process.dieAfter(Math.floor(b * awaitsMax));
      return trainerOf(world, a) !== undefined;
    },
  },
  {
    name: "worker stopped, continued",
    weight: 2,
    inject: (world, _, a, b) => {
      const trainer = trainerOf(world, a);
      trainer?.process.pause(b * 4000);
      trainer?.isSilentFor(b * 4000);
      return trainer !== undefined;
    },
  },
  {
    name: "node lost",
    weight: 1,
    inject: (world, _, a) => {
      const node = pickOf(world.nodes, a)!;
      node.die();
      world.services.find(({ name }) => name === `agent-${node.nodeId}`)!.process.kill("node lost");
      return true;
    },
  },
  {
    name: "process cut off from the bus",
    weight: 2,
    inject: (world, _, a, b) => {
      const { link } = serviceOf(world, a);
      const cut = (isCut: boolean) => () => {
        link.isCut = isCut;
      };
      return during(world, b * 8000, cut(true), cut(false));
    },
  },
  {
    name: "bus killed",
    weight: 2,
    inject: (world, _, __, b) =>
      during(
        world,
        b * 6000,
        () => world.network.stop(),
        () => world.network.start(),
      ),
  },
  {
    name: "bus without a leader",
    weight: 2,
    inject: (world, _, __, b) =>
      during(
        world,
        b * 9000,
        () => world.network.pause(),
        () => world.network.resume(),
      ),
  },
  {
    name: "requests lost, unanswered, overtaken",
    weight: 4,
    inject: (world, _, a, b) =>
      during(
        world,
        b * 4000,
        () => Object.assign(world.network.faults, { lost: a / 4, unanswered: a / 3, slowMs: 500 }),
        () => Object.assign(world.network.faults, { lost: 0, unanswered: 0, slowMs: 0 }),
      ),
  },
  {
    name: "delivered again",
    weight: 2,
    inject: (world) => {
      const { consumers } = world.network.server.stream("EVENTS");
      for (const consumer of consumers.values()) consumer.hurry(world.nowMs);
      return consumers.size > 0;
    },
  },
  {
    name: "log full",
    weight: 1,
    inject: (world, _, __, b) => {
      const log = world.network.server.stream("EVENTS");
      const limit = (maxBytes: number) => () => {
        log.maxBytes = maxBytes;
      };
      return during(world, b * 3000, limit(0), limit(Number.POSITIVE_INFINITY));
    },
  },
  {
    name: "disk full",
    weight: 2,
    inject: (world, _, __, b) =>
      during(
        world,
        b * 5000,
        () => {
          world.disk.isFull = true;
        },
        () => {
          world.disk.isFull = false;
        },
      ),
  },
  {
    name: "disk slow",
    weight: 2,
    inject: (world, _, a, b) =>
      during(
        world,
        b * 5000,
        () => {
          world.disk.latencyMs = a * 1500;
        },
        () => {
          world.disk.latencyMs = 1;
        },
      ),
  },
  {
    name: "bit flips on the disk",
    weight: 1,
    inject: (world, _, a, b) => {
      const path = pickOf([...world.disk.files.keys()], a);
      if (path !== undefined) world.disk.rot(path, b);
      return path !== undefined;
    },
  },
  {
    name: "clock jumps",
    weight: 2,
    inject: (world, _, a, b) => {
      serviceOf(world, a).skewMs = (b - 0.5) * 2 * hourMs;
      return true;
    },
  },
  {
    name: "a user changes their mind",
    weight: 4,
    inject: (_, users, a, b) => users.changeMind(a, b) !== undefined,
  },
];

const weights = faults.reduce((sum, { weight }) => sum + weight, 0);

/** Does what was planned; returns its name, undefined when there was nobody to do it to. */
export function inject(world: PlatformWorld, users: Users, planned: Planned): string | undefined {
  let left = planned.kind * weights;
  const fault = faults.find(({ weight }) => {
    left -= weight;
    return left < 0;
  })!;
  world.note(`FAULT ${planned.index}: ${fault.name}`);
  return fault.inject(world, users, planned.a, planned.b) ? fault.name : undefined;
}

/** The next scheduler that decides something stops before it says so, and a user changes their mind. */
export function stopAtDecision(world: PlatformWorld, users: Users, { a, b }: Planned): void {
  world.onDecided = (scheduler) => {
    world.onDecided = undefined;
    scheduler.pause((1 + a) * leaseTtlMs);
    users.changeMind(b, a);
  };
}

/** A node is lost and does not come back; soon after, the schedulers' clocks are set back. */
export function loseForGood(world: PlatformWorld, { kind, a, b }: Planned): void {
  const node = pickOf(world.nodes, a)!;
  world.note(`${node.nodeId} is lost for good`);
  node.die();
  world.loseService(`agent-${node.nodeId}`);
  world.at(kind * nodeTimeoutMs, () => {
    for (const { name, process } of world.services)
      if (name.startsWith("scheduler")) process.skewMs -= (1 + b) * hourMs;
  });
}

/** Everything works again. */
export function heal(world: PlatformWorld): void {
  const { network, disk } = world;
  world.note("healed");
  Object.assign(network.faults, { lost: 0, unanswered: 0, slowMs: 0 });
  network.start();
  network.resume();
  for (const link of network.links) link.isCut = false;
  Object.assign(disk, { isFull: false, latencyMs: 1 });
  network.server.stream("EVENTS").maxBytes = Number.POSITIVE_INFINITY;
  for (const { process } of world.services) {
    process.dieAfter(Number.POSITIVE_INFINITY);
    process.resume();
  }
  for (const trainer of world.nodes.flatMap((node) => node.workers)) {
    trainer.process.dieAfter(Number.POSITIVE_INFINITY);
    trainer.process.resume();
  }
}
