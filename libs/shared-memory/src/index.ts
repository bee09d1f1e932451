export { installSharedMemory } from "./install.ts";
export {
  type Bells,
  openSharedMemory,
  pageBytes,
  type SharedMemory,
  type SharedRange,
} from "./shared-memory.ts";
