import { fileURLToPath } from "node:url";
import { AppError } from "@coxswain/domain";
import { openFolderStore } from "./folder-store.ts";
import type { FolderStore } from "./store.ts";

/** @throws AppError `invalid-config` for anything but file:///FOLDER */
export function openStore(url: string): FolderStore {
  if (!url.startsWith("file:///") || !URL.canParse(url))
    throw new AppError("invalid-config", `STORE_URL ${url}: only file:///FOLDER stores exist`);
  return openFolderStore(fileURLToPath(url));
}
