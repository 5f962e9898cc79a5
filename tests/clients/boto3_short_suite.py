"""boto3, unchanged, against the gateway, shortly: bodies, checksums, links and errors come through whole."""

import os
import urllib.request

from boto3.s3.transfer import TransferConfig

from common import WORK, body, main, read, refused, s3, write


def everything():
    client, bucket = s3(), "boto3-short"
    client.create_bucket(Bucket=bucket)
    for key, size in (("run-1/empty", 0), ("run-1/a b+c%\u00e4", 70_000), ("run-1/whole", 3 * 2**20)):
        client.put_object(Bucket=bucket, Key=key, Body=body(size, size), ChecksumAlgorithm="CRC64NVME")
        assert client.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")["Body"].read() == body(size, size), key
    size = 17 * 2**20 + 3
    config = TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20, max_concurrency=4)
    client.upload_file(write("large.bin", body(1, size)), bucket, "run-2/large", Config=config)
    client.download_file(bucket, "run-2/large", os.path.join(WORK, "down"), Config=config)
    assert read("down") == body(1, size)
    with refused("404"):
        client.head_object(Bucket=bucket, Key="none")
    with refused("BadDigest"):
        client.put_object(Bucket=bucket, Key="run-1/bad", Body=b"x", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "run-1/whole"}, ExpiresIn=60)
    with urllib.request.urlopen(url, timeout=60) as reply:
        assert reply.read() == body(3 * 2**20, 3 * 2**20)
    assert len(client.list_objects_v2(Bucket=bucket)["Contents"]) == 4


main({"everything": everything})
