export { installSharedMemory } from "./install.ts";
export {
  openSharedMemory,
  pageBytes,
  type SharedMemory,
  type SharedRange,
} from "./shared-memory.ts";
