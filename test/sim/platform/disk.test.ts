/** The simulated disk promises what every store does; here on real time. */
import { systemClock } from "@coxswain/bus";
import { testStore } from "../../../libs/store/src/testing.ts";
import { Disk, storeOn } from "./disk.ts";

testStore(async () => storeOn(new Disk(), systemClock));
