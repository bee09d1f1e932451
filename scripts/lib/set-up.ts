/** The set-up that demo, tests and `npm run setup` share. */
import { cacheFolder, ensureNatsServer } from "@coxswain/embedded";
import { availableEngines } from "@coxswain/engine";

export interface SetUp {
  readonly natsBinary: string;
  readonly cacheDir: string;
  /** Name of the best engine. */
  readonly engine: string;
  readonly ms: number;
}

export interface SetUpOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly native: boolean;
  readonly onLine: (line: string) => void;
}

/** @throws AppError `setup-failed` with what was tried */
export async function setUp({ environment, native, onLine }: SetUpOptions): Promise<SetUp> {
  const startedMs = performance.now();
  const nats = await ensureNatsServer({ environment, onProgress: onLine });
  onLine(`set-up: nats-server ${nats.version} (${nats.origin})`);
  const cacheDir = cacheFolder(environment);
  void native;
  const [best] = await availableEngines({ cacheDir });
  onLine(`set-up: engine ${best!.text}`);
  return { natsBinary: nats.path, cacheDir, engine: best!.name, ms: performance.now() - startedMs };
}
