/** A platform on this machine whose workers say when they committed which step. */
import { join } from "node:path";
import { ApiClient } from "@coxswain/cli";
import { setUp } from "../../scripts/lib/set-up.ts";
import { type CleanUp, startTemporaryPlatform, temporaryFolder } from "./clean-up.ts";
import { CommitLog } from "./commit-log.ts";

export interface LoggedPlatform {
  readonly api: ApiClient;
  readonly log: CommitLog;
  readonly cacheDir: string;
  readonly dataDir: string;
  /** The best engine here. */
  readonly engine: string;
}

export async function openLoggedPlatform(
  cleanUp: CleanUp,
  { native }: { readonly native: boolean },
): Promise<LoggedPlatform> {
  const onLine = (line: string) => console.log(line);
  const ready = await setUp({ environment: process.env, native, onLine });
  const dataDir = await temporaryFolder(cleanUp);
  const path = join(dataDir, "commits.jsonl");
  const { natsBinary, cacheDir, engine } = ready;
  const platform = await startTemporaryPlatform(cleanUp, {
    ...{ dataDir, natsBinary, cacheDir },
    environment: { ...process.env, COXSWAIN_COMMIT_LOG: path },
  });
  const log = new CommitLog(path);
  return { api: new ApiClient(platform.apiUrl), log, cacheDir, dataDir, engine };
}
