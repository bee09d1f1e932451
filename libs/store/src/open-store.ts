import { fileURLToPath } from "node:url";
import { AppError } from "@coxswain/domain";
import { openFolderStore } from "./folder-store.ts";
import type { FolderStore } from "./store.ts";

/** @throws AppError `invalid-config` for anything but file:///FOLDER */
export function openStore(url: string): FolderStore {
  try {
    if (url.startsWith("file:///")) return openFolderStore(fileURLToPath(url));
  } catch (error) {
    throw new AppError("invalid-config", `STORE_URL ${url} names no folder`, {
      cause: error,
    });
  }
  throw new AppError("invalid-config", `STORE_URL ${url}: only file:///FOLDER stores exist`);
}
