export { type Store, storePaths } from "./store.ts";
