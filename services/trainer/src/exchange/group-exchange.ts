/** The part of one thread in a group whose members read each other's memory. */
import { availableParallelism } from "node:os";
import { setImmediate as breathe } from "node:timers/promises";
import type { Bells } from "@coxswain/shared-memory";
import type { ExchangeMode, ShardRange } from "../decide/shards.ts";
import { Board, type BoardStep } from "./board.ts";
import { BoardReduce } from "./board-reduce.ts";
import type { Kernels } from "./kernels.ts";
import { type Areas, type Shared, sharedOf, type Vectors, windowRange } from "./memory.ts";

/** Who adds up the pieces of an update, where all of them read each other's memory. */
export interface BoardGroup extends BoardStep {
  readonly rank: number;
  /** Shards of each rank. */
  readonly ranges: readonly ShardRange[];
  /** In which window the memory of each rank lies; of the own one nothing. */
  readonly windows: readonly (number | undefined)[];
}

export interface GroupExchangeOptions {
  readonly areas: Areas;
  readonly vectors: Vectors;
  readonly kernels: Kernels;
  readonly mode: ExchangeMode;
  /** Undefined where the addon is missing: a group is of one member then. */
  readonly bells: Bells | undefined;
}

/** Members that are level wait so long for each other: less than it takes to fall asleep and wake. */
const spinMs = 0.1;
/** Where there are more members than cores, whoever is waited for may need this one's. */
const spinCrowdedMs = 0.02;
const cores = availableParallelism();
/** After so long the thread looks for newer orders. */
const sleepMicroseconds = 1000;

export class GroupExchange {
  readonly #options: GroupExchangeOptions;
  readonly #board: Board;
  /** Views of the windows: they never move. */
  readonly #windows = new Map<number, Shared>();

  constructor(options: GroupExchangeOptions) {
    this.#options = options;
    this.#board = new Board(options.vectors.board, options.bells);
  }

  begin(group: BoardGroup): BoardReduce {
    const { areas, vectors, kernels, mode } = this.#options;
    const { shards } = areas;
    const windows = group.windows.map((window) =>
      window === undefined ? undefined : this.#windowAt(window),
    );
    const { vectorFloats } = areas.layout;
    const own = { shards, mode, vectors, vectorFloats, kernels, board: this.#board };
    return new BoardReduce({ ...group, ...own, windows });
  }

  #windowAt(window: number): Shared {
    const { areas } = this.#options;
    const shared = this.#windows.get(window) ?? sharedOf(areas, windowRange(areas, window));
    this.#windows.set(window, shared);
    return shared;
  }

  /** True when the sum is whole; false when it is not wanted any more. */
  async finish(reduce: BoardReduce, isWanted: () => boolean): Promise<boolean> {
    const { bells } = this.#options;
    for (;;) {
      const untilMs = performance.now() + (reduce.ranks > cores ? spinCrowdedMs : spinMs);
      do if (reduce.advance()) return true;
      while (performance.now() < untilMs);
      if (bells !== undefined && reduce.advanceOrListen(bells, sleepMicroseconds)) return true;
      await breathe();
      if (!isWanted()) return false;
    }
  }
}
