/**
 * A store in an S3 bucket, or in what speaks its protocol. A file is one object: it is there in full
 * once its upload is completed, or not at all. Credentials are found as every AWS tool finds them:
 * AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a shared credentials file, or the machine's role.
 */
import { createHash } from "node:crypto";
import type { S3Client, S3ServiceException } from "@aws-sdk/client-s3";
import { AppError } from "@coxswain/domain";
import { assertPath } from "./paths.ts";
import type { OwnedStore, Store } from "./store.ts";

type Library = typeof import("@aws-sdk/client-s3");
type Chunks = Parameters<Store["write"]>[1];

/** S3 wants 5 MiB at least for each part but the last, and 10,000 parts at most. */
const partBytes = 16 * 1024 * 1024;
const pieceBytesMax = 1024 * 1024;
const triesMax = 5;

interface Place {
  readonly library: Library;
  readonly client: S3Client;
  readonly bucket: string;
  /** Ends in "/", or is empty. */
  readonly prefix: string;
}

/**
 * @param url s3://BUCKET/PREFIX, with ?endpoint=URL, region=NAME and pathStyle=true where the bucket
 *   is not at AWS
 * @throws AppError `invalid-config`
 */
export function openS3Store(url: string): OwnedStore {
  const place = lazily(() => connect(url));
  parse(url);
  const at = async <Result>(path: string, act: (place: Place, key: string) => Promise<Result>) => {
    assertPath(path);
    const found = await place();
    try {
      return await act(found, found.prefix + path);
    } catch (error) {
      return explain(path, error);
    }
  };
  return {
    write: (path, chunks) => at(path, (found, key) => write(found, key, chunks)),
    read: (path) => at(path, (found, key) => read(found, key)),
    range: (path, offset, length) =>
      at(path, (found, key) => readRange(found, key, offset, length)),
    stream: (path) => pieces(() => at(path, (found, key) => bodyOf(found, key)), path),
    list: (folder) => at(folder, (found, key) => list(found, `${key}/`)),
    remove: (path) => at(path, remove),
    sweep: (options) => at("sweep", (found) => sweep(found, options)),
  };
}

function lazily<Value>(make: () => Promise<Value>): () => Promise<Value> {
  let made: Promise<Value> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

function parse(url: string) {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const options = Object.fromEntries(parsed?.searchParams ?? []);
  const known = ["endpoint", "region", "pathStyle"];
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (parsed === undefined || parsed.hostname === "" || unknown !== undefined)
    throw new AppError("invalid-config", `${url}: use s3://BUCKET/PREFIX with ${known.join(", ")}`);
  const prefix = parsed.pathname.replace(/^\/+|\/+$/g, "");
  return { bucket: parsed.hostname, prefix: prefix === "" ? "" : `${prefix}/`, options };
}

/** The client is large: it is loaded only where a bucket is used. */
async function connect(url: string): Promise<Place> {
  const { bucket, prefix, options } = parse(url);
  const library = await import("@aws-sdk/client-s3");
  const { endpoint, region = "us-east-1", pathStyle } = options;
  const client = new library.S3Client({
    region,
    maxAttempts: triesMax,
    ...(endpoint !== undefined && { endpoint }),
    forcePathStyle: pathStyle === "true",
  });
  return { library, client, bucket, prefix };
}

function explain(path: string, cause: unknown): never {
  if (cause instanceof AppError) throw cause;
  const { name, message, $metadata } = cause as S3ServiceException;
  if (name === "NoSuchKey" || name === "NotFound")
    throw new AppError("checkpoint-not-found", `${path} is not in the store`, { cause });
  if ($metadata?.httpStatusCode === 507 || name === "QuotaExceeded")
    throw new AppError("store-full", `no room for ${path}`, { cause });
  throw new AppError("store-failed", `${path}: ${name}: ${message}`, { cause });
}

async function write({ library, client, bucket }: Place, key: string, chunks: Chunks) {
  const hash = createHash("sha256");
  let bytes = 0;
  const target = { Bucket: bucket, Key: key };
  const parts: { PartNumber: number; ETag: string | undefined }[] = [];
  let upload: string | undefined;
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  const flush = async () => {
    const Body = Buffer.concat(pending);
    pending = [];
    pendingBytes = 0;
    const PartNumber = parts.length + 1;
    const command = new library.UploadPartCommand({
      ...target,
      UploadId: upload,
      PartNumber,
      Body,
    });
    parts.push({ PartNumber, ETag: (await client.send(command)).ETag });
  };
  try {
    for await (const chunk of chunks) {
      hash.update(chunk);
      bytes += chunk.length;
      pending.push(Uint8Array.from(chunk)); // The caller may use its memory again.
      pendingBytes += chunk.length;
      if (pendingBytes < partBytes) continue;
      upload ??= (await client.send(new library.CreateMultipartUploadCommand(target))).UploadId;
      await flush();
    }
    if (upload === undefined) {
      const Body = Buffer.concat(pending);
      await client.send(new library.PutObjectCommand({ ...target, Body }));
    } else {
      if (pendingBytes > 0) await flush();
      const whole = { ...target, UploadId: upload, MultipartUpload: { Parts: parts } };
      await client.send(new library.CompleteMultipartUploadCommand(whole));
    }
    return { bytes, sha256: hash.digest("hex") };
  } catch (error) {
    if (upload !== undefined) {
      const abort = new library.AbortMultipartUploadCommand({ ...target, UploadId: upload });
      await client.send(abort).catch(() => undefined); // A sweep removes it.
    }
    throw error;
  }
}

async function bodyOf({ library, client, bucket }: Place, key: string, range?: string) {
  const command = new library.GetObjectCommand({
    Bucket: bucket,
    Key: key,
    ...(range !== undefined && { Range: range }),
  });
  return (await client.send(command)).Body!;
}

async function read(place: Place, key: string): Promise<Uint8Array> {
  return await (await bodyOf(place, key)).transformToByteArray();
}

async function readRange(place: Place, key: string, offset: number, length: number) {
  if (length === 0) return new Uint8Array();
  try {
    const body = await bodyOf(place, key, `bytes=${offset}-${offset + length - 1}`);
    return await body.transformToByteArray();
  } catch (error) {
    // Nothing lies behind the end of the file.
    if ((error as Error).name === "InvalidRange") return new Uint8Array();
    throw error;
  }
}

async function* pieces(
  open: () => ReturnType<typeof bodyOf>,
  path: string,
): AsyncGenerator<Uint8Array> {
  const body = await open();
  try {
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>)
      for (let from = 0; from < chunk.length; from += pieceBytesMax)
        yield chunk.subarray(from, from + pieceBytesMax);
  } catch (error) {
    explain(path, error);
  }
}

async function list({ library, client, bucket, prefix }: Place, folder: string) {
  const listed: { readonly path: string; readonly bytes: number }[] = [];
  const pages = library.paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: folder });
  for await (const { Contents = [] } of pages)
    for (const { Key = "", Size = 0 } of Contents)
      listed.push({ path: Key.slice(prefix.length), bytes: Size });
  return listed.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function remove(place: Place, key: string): Promise<void> {
  const { library, client, bucket, prefix } = place;
  const under = (await list(place, `${key}/`)).map(({ path }) => prefix + path);
  for (const Key of [key, ...under])
    await client.send(new library.DeleteObjectCommand({ Bucket: bucket, Key }));
}

/** Ends uploads that nobody will complete. */
async function sweep(place: Place, { nowMs, ageMsMin }: Parameters<OwnedStore["sweep"]>[0]) {
  const { library, client, bucket, prefix } = place;
  const target = { Bucket: bucket, Prefix: prefix };
  const { Uploads = [] } = await client.send(new library.ListMultipartUploadsCommand(target));
  let swept = 0;
  for (const { Key, UploadId, Initiated } of Uploads) {
    if (Initiated === undefined || nowMs - Initiated.getTime() < ageMsMin) continue;
    const upload = { Bucket: bucket, Key, UploadId };
    await client.send(new library.AbortMultipartUploadCommand(upload));
    swept += 1;
  }
  return swept;
}
