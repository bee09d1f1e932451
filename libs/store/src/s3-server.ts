/** An S3 server for tests: moto's, from PyPI, in a Python environment of the project's cache. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";

const run = promisify(execFile);
const version = "5.2.5";
const place = join(homedir(), ".cache", "coxswain", `moto-${version}`);
const installTimeoutMs = 300_000;

export interface S3Server {
  readonly endpoint: string;
  readonly bucket: string;
  stop(): Promise<void>;
}

/** Any credentials will do. @throws AppError `setup-failed` */
export async function startS3Server(): Promise<S3Server> {
  const moto = await install();
  const child = spawn(moto, ["-H", "127.0.0.1", "-p", "0"], { stdio: ["ignore", "pipe", "pipe"] });
  const endpoint = await endpointOf(child);
  const bucket = "coxswain-test";
  const { S3Client, CreateBucketCommand } = await import("@aws-sdk/client-s3");
  const credentials = { accessKeyId: "test", secretAccessKey: "test" };
  const client = new S3Client({ endpoint, credentials, region: "us-east-1", forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
  return {
    endpoint,
    bucket,
    stop: async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

async function install(): Promise<string> {
  const moto = join(place, "bin", "moto_server");
  const isThere = await access(moto).then(
    () => true,
    () => false,
  );
  if (isThere) return moto;
  try {
    await mkdir(place, { recursive: true });
    await run("python3", ["-m", "venv", place], { timeout: installTimeoutMs });
    const pip = ["-m", "pip", "install", "--quiet", `moto[s3,server]==${version}`];
    await run(join(place, "bin", "python"), pip, { timeout: installTimeoutMs });
    return moto;
  } catch (cause) {
    throw new AppError("setup-failed", "moto needs python3 and PyPI", { cause });
  }
}

/** The line "Running on http://…" names the port that was free. */
async function endpointOf(child: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: child.stderr! })) {
    const [endpoint] = /http:\/\/127\.0\.0\.1:\d+/.exec(line) ?? [];
    if (endpoint === undefined) continue;
    child.stderr!.resume();
    return endpoint;
  }
  throw new AppError("setup-failed", "moto_server ended before it listened");
}
