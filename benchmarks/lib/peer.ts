/** PyTorch as the peer: found, or installed on demand; run as its own scripts say. */
import { execFile } from "node:child_process";
import { access, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import type { Options } from "./options.ts";

const run = promisify(execFile);
const torchVersion = "2.15.0";
const torchftVersion = "2026.10.26";
const installTimeoutMs = 30 * 60_000;
const runTimeoutMs = 10 * 60_000;
const root = resolve(import.meta.dirname, "../..");

export const peerOptions = {
  peers: { value: "", text: "folder of the peers' scripts; also COXSWAIN_PEERS" },
  python: { value: "", text: "a Python that has torch; also COXSWAIN_TORCH_PYTHON" },
  "install-peers": { text: `fetch torch ${torchVersion} into the user's cache first` },
  "no-peers": { text: "only ours" },
} as const;

export interface Peer {
  readonly name: string;
  readonly python: string;
  /** Runs a script of the peers' folder in so many processes; returns its lines of JSON. */
  run(
    script: string,
    processes: number,
    args: readonly string[],
  ): Promise<readonly Readonly<Record<string, unknown>>[]>;
}

/** Undefined with one line that says why, where there is none. */
export async function findPeer(
  options: Options,
  environment: Readonly<Record<string, string | undefined>>,
  cacheDir: string,
): Promise<Peer | undefined> {
  const none = (why: string) => {
    console.log(`peer: none (${why})`);
    return undefined;
  };
  if (options.has("no-peers")) return none("--no-peers");
  const folder = await findFolder(options, environment);
  if (folder === undefined) return none("no folder with the peers' scripts; name it with --peers");
  const venv = join(cacheDir, "peers", `torch-${torchVersion}`);
  if (options.has("install-peers")) await install(venv);
  const asked = options.text("python") || environment["COXSWAIN_TORCH_PYTHON"];
  const candidates = asked ? [asked] : [join(venv, "bin/python"), "python3"];
  for (const python of candidates) {
    const version = await versionOf(python);
    if (version !== undefined) return buildPeer(python, version, folder, environment);
  }
  return none(`no Python with torch (tried ${candidates.join(", ")}); --install-peers brings one`);
}

async function findFolder(
  options: Options,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<string | undefined> {
  const asked = options.text("peers") || environment["COXSWAIN_PEERS"];
  const folder = resolve(asked || join(root, "../shared/benchmarks/peers"));
  return access(join(folder, "torch_train.py")).then(
    () => folder,
    () => undefined,
  );
}

async function versionOf(python: string): Promise<string | undefined> {
  const args = ["-c", "import torch; print(torch.__version__)"];
  return run(python, args, { timeout: 60_000 }).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
}

async function install(venv: string): Promise<void> {
  const python = join(venv, "bin/python");
  if ((await versionOf(python)) !== undefined) return;
  console.log(`peer: installing torch ${torchVersion} into ${venv} (some GB, some minutes) …`);
  await run("python3", ["-m", "venv", venv]);
  const args = ["-m", "pip", "install", "--quiet", `torch==${torchVersion}`, "numpy"];
  await run(python, args, { timeout: installTimeoutMs });
}

/** torchft beside this torch; undefined with one line that says why, where there is none. */
export async function findTorchft(
  peer: Peer,
  cacheDir: string,
  installs: boolean,
): Promise<{ readonly name: string; readonly venv: string } | undefined> {
  const venv = join(cacheDir, "peers", `torchft-nightly-${torchftVersion}`);
  if (installs) await installTorchft(peer, venv);
  const isThere = await run(join(venv, "bin/python"), ["-c", "import torchft"]).then(
    () => true,
    () => false,
  );
  if (isThere) return { name: `torchft nightly ${torchftVersion}`, venv };
  console.log("peer: no torchft; --install-peers brings it");
  return undefined;
}

/** The wheel of 0.2.0 lists what the nightly needs; torch itself is the peer's. */
async function installTorchft(peer: Peer, venv: string): Promise<void> {
  const python = join(venv, "bin/python");
  if (
    await access(python).then(
      () => true,
      () => false,
    )
  )
    return;
  console.log(`peer: installing torchft nightly ${torchftVersion} into ${venv} …`);
  await run("python3", ["-m", "venv", venv]);
  const where = "import sysconfig; print(sysconfig.get_path('purelib'))";
  const [theirs, own] = await Promise.all(
    [peer.python, python].map(async (one) => (await run(one, ["-c", where])).stdout.trim()),
  );
  await writeFile(join(own!, "zz-torch.pth"), `${theirs}\n`);
  const pip = (...words: string[]) =>
    run(python, ["-m", "pip", ...words], { timeout: installTimeoutMs });
  await pip("install", "--quiet", "torchft==0.2.0");
  await pip("uninstall", "--quiet", "--yes", "torchft");
  await pip("install", "--quiet", "--no-deps", `torchft-nightly==${torchftVersion}`);
}

function buildPeer(
  python: string,
  version: string,
  folder: string,
  environment: Readonly<Record<string, string | undefined>>,
): Peer {
  // One compute thread a process, and gloo on the loopback: as ours runs.
  const env = {
    ...environment,
    PATH: `${dirname(python)}:${environment["PATH"] ?? ""}`,
    OMP_NUM_THREADS: "1",
    MKL_NUM_THREADS: "1",
    GLOO_SOCKET_IFNAME: "lo",
    PYTHONDONTWRITEBYTECODE: "1",
  };
  const launcher = ["-m", "torch.distributed.run", "--standalone"];
  return {
    name: `torch ${version}`,
    python,
    run: async (script, processes, args) => {
      const launch = processes === 1 ? [] : [...launcher, `--nproc-per-node=${processes}`];
      const { stdout } = await run(python, [...launch, join(folder, script), ...args], {
        env,
        cwd: folder,
        timeout: runTimeoutMs,
        killSignal: "SIGTERM",
      });
      const lines = stdout.split("\n").filter((line) => line.startsWith("{"));
      return lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
    },
  };
}
