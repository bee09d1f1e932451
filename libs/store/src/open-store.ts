import { fileURLToPath } from "node:url";
import { AppError } from "@coxswain/domain";
import { openFolderStore } from "./folder-store.ts";
import { openS3Store } from "./s3-store.ts";
import type { OwnedStore } from "./store.ts";

/**
 * @param url file:///FOLDER, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME&pathStyle=true
 * @throws AppError `invalid-config` for anything else
 */
export function openStore(url: string): OwnedStore {
  if (url.startsWith("s3://")) return openS3Store(url);
  if (url.startsWith("file:///") && URL.canParse(url)) return openFolderStore(fileURLToPath(url));
  throw new AppError(
    "invalid-config",
    `STORE_URL ${url}: use file:///FOLDER or s3://BUCKET/PREFIX`,
  );
}
