import { deepEqual, equal, rejects } from "node:assert/strict";
import { after, before, test } from "node:test";
import { openStore } from "./open-store.ts";
import { type S3Server, startS3Server } from "./s3-server.ts";
import { testStore } from "./testing.ts";

let server: S3Server;
let stores = 0;
before(async () => {
  server = await startS3Server();
  process.env["AWS_ACCESS_KEY_ID"] = "test";
  process.env["AWS_SECRET_ACCESS_KEY"] = "test";
});
after(() => server?.stop());

const open = (prefix: string) =>
  openStore(`s3://${server.bucket}${prefix}?endpoint=${server.endpoint}&pathStyle=true`);

testStore(() => {
  stores += 1;
  return Promise.resolve(open(`/store-${stores}`));
});

test("two prefixes of a bucket are two stores, and a bucket may be one as a whole", async () => {
  const [a, b, whole] = [open("/x/a"), open("/x/b/"), open("")];
  await a.write("f", [new Uint8Array(3)]);
  await b.write("f", [new Uint8Array(5)]);
  deepEqual(await a.list("f"), []);
  equal((await b.read("f")).length, 5);
  deepEqual(await whole.list("x"), [
    { path: "x/a/f", bytes: 3 },
    { path: "x/b/f", bytes: 5 },
  ]);
});

test("an upload that nobody completed is swept once it is old", async () => {
  const store = open("/swept");
  const { S3Client, CreateMultipartUploadCommand } = await import("@aws-sdk/client-s3");
  const client = new S3Client({
    endpoint: server.endpoint,
    region: "us-east-1",
    forcePathStyle: true,
  });
  await client.send(new CreateMultipartUploadCommand({ Bucket: server.bucket, Key: "swept/half" }));
  const later = Date.now() + 3_600_000;
  equal(await store.sweep({ nowMs: later, ageMsMin: Number.POSITIVE_INFINITY }), 0);
  equal(await store.sweep({ nowMs: later, ageMsMin: 60_000 }), 1);
  deepEqual(await store.list("half"), []);
});

test("a bucket that is not there is no missing checkpoint: the store failed", async () => {
  const store = openStore(`s3://no-such-bucket?endpoint=${server.endpoint}&pathStyle=true`);
  await rejects(store.read("a"), { code: "store-failed", message: /NoSuchBucket/ });
});
