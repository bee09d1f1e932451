import { fileURLToPath } from "node:url";
import { AppError } from "@coxswain/domain";
import { openFolderStore } from "./folder-store.ts";
import type { Store } from "./store.ts";

/** @throws AppError `invalid-config` for a scheme other than file: */
export function openStore(url: string): Store {
  if (!url.startsWith("file:"))
    throw new AppError("invalid-config", `STORE_URL ${url}: only file:///FOLDER stores exist`);
  return openFolderStore(fileURLToPath(url));
}
