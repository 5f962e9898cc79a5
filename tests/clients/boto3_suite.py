"""boto3, unchanged, against the gateway."""

import base64
import concurrent.futures
import contextlib
import datetime
import hashlib
import io
import json
import os
import urllib.error
import urllib.request
import zlib

import awscrt.checksums
import boto3
import botocore
import botocore.config
import botocore.exceptions
from boto3.s3.transfer import TransferConfig

from common import WORK, admin, body, main, rate, read, refused, s3, timed, write

MIB = 2**20

DIGESTS = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: awscrt.checksums.crc32c(data).to_bytes(4, "big"),
    "CRC64NVME": lambda data: awscrt.checksums.crc64nvme(data).to_bytes(8, "big"),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
    "SHA512": lambda data: hashlib.sha512(data).digest(),
    "MD5": lambda data: hashlib.md5(data).digest(),
    "XXHASH64": awscrt.checksums.XXHash.compute_xxhash64,
    "XXHASH3": awscrt.checksums.XXHash.compute_xxhash3_64,
    "XXHASH128": awscrt.checksums.XXHash.compute_xxhash3_128,
}

# What the SDK does not compute by itself: its user gives the value.
GIVEN = ("MD5",)


def checksum(algorithm, data):
    return base64.b64encode(DIGESTS[algorithm](data)).decode()


def threads():
    client = s3()
    client.create_bucket(Bucket="boto3-threads")
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=8)
    size = 48 * MIB + 777
    path = write("large.bin", body(1, size))
    seconds = timed(lambda: client.upload_file(path, "boto3-threads", "run-1/large.bin", Config=config))
    rate("boto3 upload_file, 8 threads", 1, size, seconds)
    client.download_file("boto3-threads", "run-1/large.bin", os.path.join(WORK, "large.down"), Config=config)
    assert read("large.down") == body(1, size)
    head = client.head_object(Bucket="boto3-threads", Key="run-1/large.bin")
    pieces = [body(1, size)[at : at + 5 * MIB] for at in range(0, size, 5 * MIB)]
    joined = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    assert head["ETag"] == f'"{hashlib.md5(joined).hexdigest()}-{len(pieces)}"', head["ETag"]
    assert head["ContentLength"] == size

    def small(number):
        key = f"run-2/{number:03}.bin"
        client.upload_fileobj(io.BytesIO(body(number, 20_000)), "boto3-threads", key)
        return client.get_object(Bucket="boto3-threads", Key=key)["Body"].read() == body(number, 20_000)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(small, range(200)))


def checksums():
    client = s3()
    client.create_bucket(Bucket="boto3-sums")
    data = body(2, 300_000)
    pieces = [body(3, 5 * MIB), body(4, 5 * MIB), body(5, 1000)]
    for algorithm in DIGESTS:
        field = f"Checksum{algorithm}"
        # Computed by the SDK, then given by the caller, then given wrong.
        put = {"Bucket": "boto3-sums", "Key": f"run-1/{algorithm}"}
        asked = {field: checksum(algorithm, data)} if algorithm in GIVEN else {"ChecksumAlgorithm": algorithm}
        stored = client.put_object(**put, Body=data, **asked)
        assert stored[field] == checksum(algorithm, data), algorithm
        client.put_object(**put, Body=data, **{field: checksum(algorithm, data)})
        with refused("BadDigest"):
            client.put_object(**put, Body=data, **{field: checksum(algorithm, b"other")})
        got = client.get_object(**put, ChecksumMode="ENABLED")
        assert got[field] == checksum(algorithm, data) and got["Body"].read() == data, algorithm
        head = client.head_object(**put, ChecksumMode="ENABLED")
        assert head[field] == checksum(algorithm, data) and head["ChecksumType"] == "FULL_OBJECT", head
        # CRCs of parts can be joined to that of the whole, and nothing else; CRC64NVME only exists of the whole.
        kinds = {"CRC32": ["COMPOSITE", "FULL_OBJECT"], "CRC64NVME": ["FULL_OBJECT"]}
        kinds["CRC32C"] = kinds["CRC32"]
        for kind in kinds.get(algorithm, ["COMPOSITE"]):
            parts_checked(client, algorithm, field, kind, pieces)
        if algorithm not in kinds:
            with refused("InvalidRequest"):
                client.create_multipart_upload(**put, ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")


def parts_checked(client, algorithm, field, kind, pieces):
    name = {"Bucket": "boto3-sums", "Key": f"run-1/parts-{algorithm}-{kind}"}
    upload = client.create_multipart_upload(**name, ChecksumAlgorithm=algorithm, ChecksumType=kind)["UploadId"]
    parts = []
    for number, piece in enumerate(pieces, 1):
        asked = {field: checksum(algorithm, piece)} if algorithm in GIVEN else {"ChecksumAlgorithm": algorithm}
        part = client.upload_part(**name, UploadId=upload, PartNumber=number, Body=piece, **asked)
        assert part[field] == checksum(algorithm, piece), (algorithm, kind, number)
        parts.append({"PartNumber": number, "ETag": part["ETag"], field: part[field]})
    with refused("BadDigest"):
        wrong = checksum(algorithm, b"other")
        client.upload_part(**name, UploadId=upload, PartNumber=1, Body=pieces[0], **{field: wrong})
    listed = client.list_parts(**name, UploadId=upload)
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, kind), listed
    assert [part[field] for part in listed["Parts"]] == [part[field] for part in parts], listed
    done = client.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": parts})
    if kind == "FULL_OBJECT":
        whole = checksum(algorithm, b"".join(pieces))
    else:
        whole = checksum(algorithm, b"".join(DIGESTS[algorithm](piece) for piece in pieces)) + f"-{len(pieces)}"
    assert done[field] == whole, (algorithm, kind, done)
    head = client.head_object(**name, ChecksumMode="ENABLED")
    assert (head[field], head["ChecksumType"]) == (whole, kind), head
    told = client.get_object_attributes(**name, ObjectAttributes=["Checksum", "ObjectParts"])
    assert told["Checksum"] == {field: whole, "ChecksumType": kind}, told
    assert [part[field] for part in told["ObjectParts"]["Parts"]] == [part[field] for part in parts], told
    # The SDK compares what it reads with the checksum that is told.
    assert client.get_object(**name, ChecksumMode="ENABLED")["Body"].read() == b"".join(pieces)


def odd_keys():
    client = s3()
    client.create_bucket(Bucket="boto3-odd")
    keys = [
        "run/plain", "run/\u00e4\u00f6\u00fc\u00df/\u6f22\u5b57/\U0001f600", "run/a b  c", "run/a+b", "run/a%20b%", "run//double//",
        "run/../up", "run/./here", "run/bell\x07", "run/tab\tnew\nline", "run/q?a=b&c#d", "run/\"'<>&;", "run/\\back",
        "run/(x)*!~$@,=:", "/leading", "run/trailing/", "run/combining-e\u0301", "run/" + "k" * 1020, "run/" + "\u6f22" * 340,
    ]
    for key in keys:
        client.put_object(Bucket="boto3-odd", Key=key, Body=key.encode(), Metadata={"length": str(len(key))})
    for key in keys:
        got = client.get_object(Bucket="boto3-odd", Key=key)
        assert got["Body"].read() == key.encode() and got["Metadata"] == {"length": str(len(key))}, key
    wanted = sorted(keys, key=lambda key: key.encode())
    for operation in ("list_objects_v2", "list_objects"):
        pages = client.get_paginator(operation).paginate(Bucket="boto3-odd", PaginationConfig={"PageSize": 4})
        assert [entry["Key"] for page in pages for entry in page["Contents"]] == wanted, operation
    with refused("KeyTooLongError"):
        client.put_object(Bucket="boto3-odd", Key="k" * 1025, Body=b"x")
    deleted = client.delete_objects(Bucket="boto3-odd", Delete={"Objects": [{"Key": key} for key in keys if "\x07" not in key]})
    assert not deleted.get("Errors"), deleted
    assert len(client.list_objects_v2(Bucket="boto3-odd").get("Contents", [])) == 1


def listing():
    client = s3()
    client.create_bucket(Bucket="boto3-list")
    keys = sorted(f"run-{number % 25:02}/sub-{number % 4}/{number:04}" for number in range(2500))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.put_object(Bucket="boto3-list", Key=key, Body=b""), keys))
    for operation in ("list_objects_v2", "list_objects"):
        pages = list(client.get_paginator(operation).paginate(Bucket="boto3-list"))
        assert len(pages) == 3
        assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys, operation
        pages = client.get_paginator(operation).paginate(
            Bucket="boto3-list", Delimiter="/", PaginationConfig={"PageSize": 10}
        )
        prefixes = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        assert prefixes == [f"run-{number:02}/" for number in range(25)], operation
    inside = client.list_objects_v2(Bucket="boto3-list", Delimiter="/", Prefix="run-03/")
    assert [entry["Prefix"] for entry in inside["CommonPrefixes"]] == [f"run-03/sub-{number}/" for number in range(4)]
    after = client.list_objects_v2(Bucket="boto3-list", StartAfter=keys[2000], MaxKeys=2)
    assert [entry["Key"] for entry in after["Contents"]] == keys[2001:2003] and after["IsTruncated"]
    last = client.list_objects_v2(Bucket="boto3-list", StartAfter=keys[-1])
    assert last["KeyCount"] == 0 and not last["IsTruncated"]


RESUME = {"Bucket": "boto3-resume", "Key": "run-1/resumed.bin"}
RESUMED = [body(6, 5 * MIB), body(7, 6 * MIB), body(8, 4321)]


def resume_begin():
    client = s3()
    client.create_bucket(Bucket=RESUME["Bucket"])
    upload = client.create_multipart_upload(**RESUME, Metadata={"kept": "yes"})["UploadId"]
    client.upload_part(**RESUME, UploadId=upload, PartNumber=2, Body=RESUMED[1])


def resume_end():
    client = s3()
    [upload] = client.list_multipart_uploads(Bucket=RESUME["Bucket"])["Uploads"]
    assert upload["Key"] == RESUME["Key"]
    upload = upload["UploadId"]
    there = {part["PartNumber"] for part in client.list_parts(**RESUME, UploadId=upload)["Parts"]}
    assert there == {2}, there
    for number in (3, 1):
        client.upload_part(**RESUME, UploadId=upload, PartNumber=number, Body=RESUMED[number - 1])
    listed = client.list_parts(**RESUME, UploadId=upload)["Parts"]
    parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed]
    client.complete_multipart_upload(**RESUME, UploadId=upload, MultipartUpload={"Parts": parts})
    got = client.get_object(**RESUME)
    assert got["Body"].read() == b"".join(RESUMED) and got["Metadata"] == {"kept": "yes"}
    whole = hashlib.sha256(b"".join(RESUMED)).hexdigest()
    assert got["ResponseMetadata"]["HTTPHeaders"]["x-artifact-sha256"] == whole


def presigned():
    client = s3()
    client.create_bucket(Bucket="boto3-links")
    name = {"Bucket": "boto3-links", "Key": "run-1/a b+c\u00e4.bin"}
    data = body(9, 100_000)
    url = client.generate_presigned_url("put_object", Params={**name, "ContentType": "text/x-log"}, ExpiresIn=60)
    request = urllib.request.Request(url, method="PUT", data=data, headers={"Content-Type": "text/x-log"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        assert reply.status == 200
    url = client.generate_presigned_url("get_object", Params={**name, "ResponseContentType": "text/plain"}, ExpiresIn=60)
    with urllib.request.urlopen(url, timeout=60) as reply:
        assert reply.read() == data and reply.headers["Content-Type"] == "text/plain"
    url = client.generate_presigned_url("head_object", Params=name, ExpiresIn=60)
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as reply:
        assert reply.headers["Content-Length"] == "100000"
    try:
        urllib.request.urlopen(url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"), timeout=60)
        raise AssertionError("a changed link was taken")
    except urllib.error.HTTPError as error:
        assert error.code == 403


def conditions():
    client = s3()
    client.create_bucket(Bucket="boto3-if")
    name = {"Bucket": "boto3-if", "Key": "run-1/lock"}
    first = client.put_object(**name, Body=b"1", IfNoneMatch="*")
    with refused("PreconditionFailed"):
        client.put_object(**name, Body=b"2", IfNoneMatch="*")
    second = client.put_object(**name, Body=b"2", IfMatch=first["ETag"])
    with refused("PreconditionFailed"):
        client.put_object(**name, Body=b"3", IfMatch=first["ETag"])
    with refused("PreconditionFailed", "412"):
        client.get_object(**name, IfMatch=first["ETag"])
    with refused("304"):
        client.get_object(**name, IfNoneMatch=second["ETag"])
    with refused("412"):
        client.head_object(**name, IfMatch=first["ETag"])
    assert client.get_object(**name, IfMatch=second["ETag"])["Body"].read() == b"2"

    def attempt(number):
        try:
            client.put_object(Bucket="boto3-if", Key="run-1/race", Body=str(number).encode(), IfNoneMatch="*")
            return number
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed", error
            return None

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        winners = [number for number in pool.map(attempt, range(32)) if number is not None]
    assert len(winners) == 1, winners


def copies():
    client = s3()
    client.create_bucket(Bucket="boto3-copy")
    source = {"Bucket": "boto3-copy", "Key": "run-1/source \u00e4+%.bin"}
    data = body(10, 9 * MIB)
    client.put_object(**source, Body=data, Metadata={"a": "1"}, ContentType="text/x-log")
    client.copy_object(Bucket="boto3-copy", Key="run-2/copy", CopySource=source)
    got = client.get_object(Bucket="boto3-copy", Key="run-2/copy")
    assert (got["Metadata"], got["ContentType"], got["Body"].read() == data) == ({"a": "1"}, "text/x-log", True)
    before = client.head_object(**source)
    client.copy_object(**source, CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="text/plain")
    after = client.get_object(**source)
    assert (after["Metadata"], after["ContentType"]) == ({"b": "2"}, "text/plain")
    assert after["ETag"] == before["ETag"] and after["Body"].read() == data
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    client.copy(source, "boto3-copy", "run-2/managed", Config=config)
    assert client.get_object(Bucket="boto3-copy", Key="run-2/managed")["Body"].read() == data


def delete_ranges():
    client = s3()
    client.create_bucket(Bucket="boto3-rest")
    keys = [f"run-1/{number:03}" for number in range(150)]
    for key in keys:
        client.put_object(Bucket="boto3-rest", Key=key, Body=key.encode())
    objects = [{"Key": key} for key in [*keys[:100], "run-1/never-there"]]
    done = client.delete_objects(Bucket="boto3-rest", Delete={"Objects": objects})
    assert len(done["Deleted"]) == 101 and not done.get("Errors"), done
    left = client.list_objects_v2(Bucket="boto3-rest")["Contents"]
    assert [entry["Key"] for entry in left] == keys[100:]
    data = body(11, 17 * MIB)
    name = {"Bucket": "boto3-rest", "Key": "run-1/ranges"}
    client.put_object(**name, Body=data)
    for wanted, begin, end in (("0-99", 0, 100), (f"{8 * MIB - 3}-{8 * MIB + 2}", 8 * MIB - 3, 8 * MIB + 3), ("-7", 17 * MIB - 7, 17 * MIB)):
        got = client.get_object(**name, Range=f"bytes={wanted}")
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206 and got["Body"].read() == data[begin:end], wanted
        assert not any(field.startswith("Checksum") for field in got), "a part of the bytes has another checksum"
    with refused("InvalidRange"):
        client.get_object(**name, Range=f"bytes={17 * MIB}-")


def errors():
    client = s3()
    client.create_bucket(Bucket="boto3-errors")
    bucket = {"Bucket": "boto3-errors"}
    name = {**bucket, "Key": "run-1/none"}
    with refused("NoSuchKey") as seen:
        client.get_object(**name)
    assert seen["error"]["ResponseMetadata"]["RequestId"], "an error names its request"
    with refused("404"):
        client.head_object(**name)
    with refused("404"):
        client.head_bucket(Bucket="boto3-nowhere")
    with refused("NoSuchBucket"):
        client.list_objects_v2(Bucket="boto3-nowhere")
    with refused("NoSuchBucket"):
        client.put_object(Bucket="boto3-nowhere", Key="a", Body=b"")
    client.create_bucket(**bucket)
    with refused("BucketAlreadyOwnedByYou"):
        client.create_bucket(**bucket, ObjectLockEnabledForBucket=True)
    with refused("NoSuchUpload"):
        client.upload_part(**name, UploadId="0" * 32, PartNumber=1, Body=b"x")
    with refused("NoSuchUpload"):
        client.abort_multipart_upload(**name, UploadId="0" * 32)
    with refused("NoSuchUpload"):
        client.list_parts(**name, UploadId="0" * 32)
    upload = client.create_multipart_upload(**name)["UploadId"]
    etags = [client.upload_part(**name, UploadId=upload, PartNumber=number, Body=b"x")["ETag"] for number in (1, 2)]
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    for code, wrong in (
        ("EntityTooSmall", parts),
        ("InvalidPartOrder", parts[::-1]),
        ("InvalidPart", [{"PartNumber": 9, "ETag": etags[0]}]),
        ("InvalidPart", [{"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}]),
    ):
        with refused(code):
            client.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": wrong})
    client.abort_multipart_upload(**name, UploadId=upload)
    with refused("BadDigest"):
        wrong_md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
        client.put_object(**name, Body=b"x", ContentMD5=wrong_md5)
    client.put_object(**bucket, Key="run-1/there", Body=b"x")
    with refused("BucketNotEmpty"):
        client.delete_bucket(**bucket)
    with refused("AccessControlListNotSupported"):
        client.put_bucket_acl(**bucket, ACL="public-read")
    client.put_bucket_acl(**bucket, ACL="private")
    for operation, code in (
        ("get_bucket_policy", "NoSuchBucketPolicy"),
        ("get_bucket_cors", "NoSuchCORSConfiguration"),
        ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
        ("get_bucket_website", "NoSuchWebsiteConfiguration"),
        ("get_bucket_tagging", "NoSuchTagSet"),
        ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
    ):
        with refused(code):
            getattr(client, operation)(**bucket)
    assert client.get_bucket_versioning(**bucket).get("Status") != "Enabled"
    assert not client.get_bucket_location(**bucket)["LocationConstraint"]


def versions():
    client = s3()
    bucket, name = {"Bucket": "boto3-versions"}, {"Bucket": "boto3-versions", "Key": "run-1/a.txt"}
    client.create_bucket(**bucket)
    client.put_object(**name, Body=b"before")
    client.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"})
    assert client.get_bucket_versioning(**bucket)["Status"] == "Enabled"
    ids = [client.put_object(**name, Body=text)["VersionId"] for text in (b"one", b"two")]
    for version, text in (("null", b"before"), (ids[0], b"one"), (ids[1], b"two")):
        found = client.get_object(**name, VersionId=version)
        assert (found["Body"].read(), found["VersionId"]) == (text, version)
    marker = client.delete_object(**name)
    assert marker["DeleteMarker"]
    with refused("NoSuchKey") as seen:
        client.get_object(**name)
    headers = seen["error"]["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", marker["VersionId"])
    with refused("MethodNotAllowed"):
        client.get_object(**name, VersionId=marker["VersionId"])
    pages = client.get_paginator("list_object_versions").paginate(**bucket, PaginationConfig={"PageSize": 1})
    listed = [(it["VersionId"], it["IsLatest"]) for page in pages for kind in ("DeleteMarkers", "Versions")
              for it in page.get(kind, [])]
    assert listed == [(marker["VersionId"], True), (ids[1], False), (ids[0], False), ("null", False)], listed
    client.copy_object(Bucket="boto3-versions", Key="run-1/b.txt", CopySource={**name, "VersionId": ids[0]})
    assert client.get_object(Bucket="boto3-versions", Key="run-1/b.txt")["Body"].read() == b"one"
    client.delete_object(**name, VersionId=marker["VersionId"])
    assert client.get_object(**name)["Body"].read() == b"two", "what was behind the marker is back"
    client.delete_object(**name, VersionId=ids[1])
    with refused("NoSuchVersion"):
        client.get_object(**name, VersionId=ids[1])
    client.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Suspended"})
    client.put_object(**name, Body=b"after")
    versions = client.list_object_versions(**bucket, Prefix="run-1/a")["Versions"]
    assert [it["VersionId"] for it in versions] == ["null", ids[0]], versions
    with refused("BucketNotEmpty"):
        client.delete_bucket(**bucket)
    listed = client.list_object_versions(**bucket)["Versions"]
    wanted = [{"Key": it["Key"], "VersionId": it["VersionId"]} for it in listed]
    assert len(client.delete_objects(**bucket, Delete={"Objects": wanted})["Deleted"]) == len(wanted)
    client.create_multipart_upload(**name)
    client.delete_bucket(**bucket)


def locks():
    client = s3()
    bucket, until = {"Bucket": "boto3-locks"}, datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)
    client.create_bucket(**bucket, ObjectLockEnabledForBucket=True)
    assert client.get_object_lock_configuration(**bucket)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    put = client.put_object(**bucket, Key="run-1/put", Body=b"put", **lock, ObjectLockLegalHoldStatus="ON")
    copy = client.copy_object(**bucket, Key="run-1/copy", CopySource={**bucket, "Key": "run-1/put"}, **lock)
    upload = {**bucket, "Key": "run-1/parts"}
    upload["UploadId"] = client.create_multipart_upload(**upload, **lock)["UploadId"]
    part = {"PartNumber": 1, "ETag": client.upload_part(**upload, PartNumber=1, Body=b"parts")["ETag"]}
    parts = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]})
    md5 = base64.b64encode(hashlib.md5(b"md5").digest()).decode()
    plain = s3(request_checksum_calculation="when_required")
    with_md5 = plain.put_object(**bucket, Key="run-1/md5", Body=b"md5", ContentMD5=md5, **lock)
    for key, made in (("put", put), ("copy", copy), ("parts", parts), ("md5", with_md5)):
        name = {**bucket, "Key": f"run-1/{key}"}
        head = client.head_object(**name)
        assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until), head
        assert head.get("ObjectLockLegalHoldStatus") == ("ON" if key == "put" else None), head
        kept = client.get_object_retention(**name)["Retention"]
        assert kept == {"Mode": "GOVERNANCE", "RetainUntilDate": until}, kept
        version = {**name, "VersionId": made["VersionId"]}
        with refused("AccessDenied") as seen:
            client.delete_object(**version)
        assert "the lock (governance) keeps it until 2099" in str(seen["error"]), seen["error"]
        if key == "put":
            with refused("AccessDenied") as seen:
                client.delete_object(**version, BypassGovernanceRetention=True)
            assert "the hold s3-legal-hold" in str(seen["error"]), seen["error"]
            client.put_object_legal_hold(**name, LegalHold={"Status": "OFF"})
        marker = client.delete_object(**name)
        assert marker["DeleteMarker"] and client.get_object(**version)["Body"].read()
        client.delete_object(**version, BypassGovernanceRetention=True)
    default = {"Mode": "COMPLIANCE", "Days": 1}
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}
    client.put_object_lock_configuration(**bucket, ObjectLockConfiguration=rule)
    bare = plain.put_object(**bucket, Key="run-2/bare", Body=b"no header")
    assert client.head_object(**bucket, Key="run-2/bare")["ObjectLockMode"] == "COMPLIANCE"
    with refused("AccessDenied"):
        client.delete_object(**bucket, Key="run-2/bare", VersionId=bare["VersionId"], BypassGovernanceRetention=True)


def settings():
    client = s3()
    bucket, name = {"Bucket": "boto3-settings"}, {"Bucket": "boto3-settings", "Key": "run-1/a.txt"}
    client.create_bucket(**bucket)
    client.put_object(**name, Body=b"tagged", Tagging="team=evidence&empty=", Metadata={"a": "b"})
    tags = {it["Key"]: it["Value"] for it in client.get_object_tagging(**name)["TagSet"]}
    assert tags == {"team": "evidence", "empty": ""}
    assert client.get_object(**name)["TagCount"] == 2
    sequence = client.head_object(**name)["ResponseMetadata"]["HTTPHeaders"]["x-artifact-sequence"]
    client.put_object_tagging(**name, Tagging={"TagSet": [{"Key": "colour", "Value": "grün"}]})
    client.copy_object(**bucket, Key="run-1/b.txt", CopySource=name)
    client.copy_object(**bucket, Key="run-1/c.txt", CopySource=name, TaggingDirective="REPLACE", Tagging="x=y")
    for key, wanted in (("a", ["colour"]), ("b", ["colour"]), ("c", ["x"])):
        found = client.get_object_tagging(**bucket, Key=f"run-1/{key}.txt")["TagSet"]
        assert [it["Key"] for it in found] == wanted, (key, found)
    now = client.head_object(**name)["ResponseMetadata"]["HTTPHeaders"]["x-artifact-sequence"]
    assert now == sequence, "tags make no new version"
    client.delete_object_tagging(**name)
    assert client.get_object_tagging(**name)["TagSet"] == []
    with refused("InvalidTag"):
        client.put_object_tagging(**name, Tagging={"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]})
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    client.put_object(**name, Body=b"summed", ChecksumAlgorithm="CRC32C")
    found = client.get_object_attributes(**name, ObjectAttributes=wanted)
    assert found["ETag"].strip('"') == hashlib.md5(b"summed").hexdigest() and found["ObjectSize"] == 6
    assert found["Checksum"]["ChecksumCRC32C"] == checksum("CRC32C", b"summed"), found
    for config in (
        ("cors", {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["PUT"], "AllowedOrigins": ["https://*.example"],
                                                       "AllowedHeaders": ["x-amz-*"], "MaxAgeSeconds": 60}]}}),
        ("tagging", {"Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}),
        ("lifecycle_configuration", {"LifecycleConfiguration": {"Rules": [
            {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "a"}, "Expiration": {"Days": 1}}]}}),
    ):
        getattr(client, f"put_bucket_{config[0]}")(**bucket, **config[1])
        given = next(iter(config[1].values()))
        found = getattr(client, f"get_bucket_{config[0]}")(**bucket)
        key = next(iter(given))
        assert found[key] == given[key], (config[0], found[key])
    url = client.meta.endpoint_url + "/boto3-settings/run-1/a.txt"
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}
    for method, status in (("PUT", 200), ("DELETE", 403)):
        request = urllib.request.Request(url, method="OPTIONS", headers={**asked, "Access-Control-Request-Method": method})
        try:
            answer = urllib.request.urlopen(request)
            assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
            assert (answer.status, answer.headers["Access-Control-Max-Age"]) == (status, "60")
        except urllib.error.HTTPError as error:
            assert error.code == status, (method, error.code)
    client.delete_bucket_cors(**bucket)
    with refused("NoSuchCORSConfiguration"):
        client.get_bucket_cors(**bucket)
    deny = '{"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket", "Resource": "*"}]}'
    client.put_bucket_policy(**bucket, Policy=deny)
    assert client.get_bucket_policy(**bucket)["Policy"] == deny
    with refused("AccessDenied"):
        client.list_objects_v2(**bucket)
    with refused("NotImplemented"):
        client.put_bucket_policy(**bucket, Policy=deny.replace('"Principal"', '"NotPrincipal"'))
    client.delete_bucket_policy(**bucket)
    assert client.list_objects_v2(**bucket)["KeyCount"] == 3


def anonymous():
    """What anyone may read without a key: as the producer's setting says, and as a policy says."""
    client, name = s3(), {"Bucket": "boto3-anonymous", "Key": "run-1/a.txt"}
    bucket = {"Bucket": name["Bucket"]}
    client.create_bucket(**bucket)
    client.put_object(**name, Body=b"for anyone")
    plain = botocore.config.Config(signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"})
    anyone = boto3.client("s3", config=plain)

    def reads(get, listing):
        with contextlib.nullcontext() if get else refused("AccessDenied"):
            assert anyone.get_object(**name)["Body"].read() == b"for anyone"
        with contextlib.nullcontext() if listing else refused("AccessDenied"):
            assert [it["Key"] for it in anyone.list_objects_v2(**bucket)["Contents"]] == [name["Key"]]
        with refused("AccessDenied"):
            anyone.put_object(**name, Body=b"by anyone")

    reads(False, False)
    for setting, get, listing in (("off", False, False), ("objects", True, False), ("list", True, True), ("off", False, False)):
        admin("PUT", "/v1/producers/boto3-anonymous", {"anonymous_read": setting})
        reads(get, listing)
    for action, resource, get, listing in (
        ("s3:GetObject", "arn:aws:s3:::boto3-anonymous/run-1/*", True, False),
        ("s3:ListBucket", "arn:aws:s3:::boto3-anonymous", False, True),
    ):
        allowed = {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource}
        client.put_bucket_policy(**bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
        reads(get, listing)
    client.delete_bucket_policy(**bucket)
    reads(False, False)


def whole_sha256():
    """Whatever algorithm the client chose, it can compare the whole with the digest that manifests name."""
    client = s3()
    bucket = {"Bucket": "boto3-sha256"}
    client.create_bucket(**bucket)
    data = body(9, 5 * MIB + 3)
    wanted = checksum("SHA256", data)
    for algorithm in ("CRC32", "CRC64NVME", "SHA256"):
        name = {**bucket, "Key": f"run-1/{algorithm}"}
        client.put_object(**name, Body=data, ChecksumAlgorithm=algorithm)
        found = client.get_object(**name, ChecksumMode="ENABLED")
        assert found["Body"].read() == data
        assert (found["ChecksumSHA256"], found["ChecksumType"]) == (wanted, "FULL_OBJECT"), algorithm
        assert client.head_object(**name, ChecksumMode="ENABLED")["ChecksumSHA256"] == wanted
        assert "ChecksumSHA256" not in client.head_object(**name)
        ranged = client.get_object(**name, ChecksumMode="ENABLED", Range="bytes=0-9")
        assert ranged["Body"].read() == data[:10] and "ChecksumSHA256" not in ranged
    name = {**bucket, "Key": "run-1/parts"}
    upload = client.create_multipart_upload(**name, ChecksumAlgorithm="CRC32")["UploadId"]
    pieces = [data[: 5 * MIB], data[5 * MIB :]]
    parts = []
    for number, piece in enumerate(pieces, 1):
        part = client.upload_part(**name, UploadId=upload, PartNumber=number, Body=piece, ChecksumAlgorithm="CRC32")
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
    client.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": parts})
    found = client.get_object(**name, ChecksumMode="ENABLED")
    assert found["Body"].read() == data and found["ChecksumSHA256"] == wanted
    attributes = client.get_object_attributes(**name, ObjectAttributes=["ObjectParts"])["ObjectParts"]
    assert [it["Size"] for it in attributes["Parts"]] == [5 * MIB, 3], attributes


main({
    "versions": versions,
    "locks": locks,
    "settings": settings,
    "anonymous": anonymous,
    "whole-sha256": whole_sha256,
    "threads": threads,
    "checksums": checksums,
    "odd-keys": odd_keys,
    "listing": listing,
    "resume-begin": resume_begin,
    "resume-end": resume_end,
    "presigned": presigned,
    "conditions": conditions,
    "copies": copies,
    "delete-ranges": delete_ranges,
    "errors": errors,
})
