// @aws-sdk/client-s3, unchanged, against the gateway. The environment says where everything is, as for the other suites.

const assert = require("node:assert");
const { createHash } = require("node:crypto");
const { createRequire } = require("node:module");
const { Readable } = require("node:stream");

const installed = createRequire(`${process.env.ARTIFACTSTORE_CLIENTS}/node/`);
const s3 = installed("@aws-sdk/client-s3");
const { Upload } = installed("@aws-sdk/lib-storage");

const client = new s3.S3Client({ forcePathStyle: true, maxAttempts: 1 });
const Bucket = "node-sdk";

function body(seed, size) {
  const pieces = [];
  for (let at = 0; at < size; at += 32) {
    pieces.push(createHash("sha256").update(`${seed} ${at}`).digest());
  }
  return Buffer.concat(pieces).subarray(0, size);
}

async function refused(code, call) {
  await assert.rejects(call, (error) => {
    assert.ok(error.name === code || error.Code === code, `${code}: ${error.name} ${error.message}`);
    assert.ok(error.$metadata.requestId, "an error names its request");
    return true;
  });
}

async function read(Key, more = {}) {
  const got = await client.send(new s3.GetObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED", ...more }));
  return [got, Buffer.from(await got.Body.transformToByteArray())];
}

async function everything() {
  await client.send(new s3.CreateBucketCommand({ Bucket }));
  const data = body(1, 300_000);
  for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
    const Key = `run-1/ä b+c% ${ChecksumAlgorithm}`;
    const put = { Bucket, Key, Body: data, ChecksumAlgorithm, Metadata: { note: "kept" } };
    const stored = await client.send(new s3.PutObjectCommand(put));
    assert.ok(stored[`Checksum${ChecksumAlgorithm}`], ChecksumAlgorithm);
    const [got, bytes] = await read(Key);
    assert.ok(bytes.equals(data) && got.Metadata.note === "kept", Key);
    assert.strictEqual(got[`Checksum${ChecksumAlgorithm}`], stored[`Checksum${ChecksumAlgorithm}`]);
  }
  // A stream has to be sent in chunks, with its checksum behind them.
  const streamed = { Bucket, Key: "run-1/stream", Body: Readable.from([data]), ContentLength: data.length };
  await client.send(new s3.PutObjectCommand(streamed));
  assert.ok((await read("run-1/stream"))[1].equals(data));
  const large = body(2, 12 * 2 ** 20 + 5);
  const params = { Bucket, Key: "run-2/large", Body: Readable.from([large]) };
  await new Upload({ client, params, partSize: 5 * 2 ** 20, queueSize: 3 }).done();
  assert.ok((await read("run-2/large"))[1].equals(large));
  const [part, bytes] = await read("run-2/large", { Range: "bytes=5-104" });
  assert.ok(bytes.equals(large.subarray(5, 105)) && part.ContentRange === `bytes 5-104/${large.length}`);
  await client.send(new s3.CopyObjectCommand({ Bucket, Key: "run-3/copy", CopySource: `${Bucket}/run-2/large` }));
  const listed = await client.send(new s3.ListObjectsV2Command({ Bucket, Delimiter: "/" }));
  assert.deepStrictEqual(listed.CommonPrefixes.map((entry) => entry.Prefix), ["run-1/", "run-2/", "run-3/"]);
  await refused("NoSuchKey", client.send(new s3.GetObjectCommand({ Bucket, Key: "none" })));
  await refused("NotFound", client.send(new s3.HeadObjectCommand({ Bucket, Key: "none" })));
  const taken = { Bucket, Key: "run-1/stream", Body: "x", IfNoneMatch: "*" };
  await refused("PreconditionFailed", client.send(new s3.PutObjectCommand(taken)));
  const all = await client.send(new s3.ListObjectsV2Command({ Bucket }));
  const Objects = all.Contents.map(({ Key }) => ({ Key }));
  const gone = await client.send(new s3.DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  assert.strictEqual(gone.Deleted.length, 8);
  await client.send(new s3.DeleteBucketCommand({ Bucket }));
  console.log("everything: done");
}

everything().catch((error) => {
  console.error(error);
  process.exit(1);
});
