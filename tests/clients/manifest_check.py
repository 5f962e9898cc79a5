"""Checks a finalized package with nothing of the gateway's own code.

Arguments: producer, package, manifest digest. The manifest comes by plain S3; cbor2 must encode it to the same bytes in its
canonical mode; the JSON must be its projection by RFC 8785; every file is downloaded and digested again.
"""

import hashlib
import json
import re
import sys

import blake3
import cbor2

from common import s3

FILE_FIELDS = {
    "relative_path", "size", "content_address", "digest_algorithm", "digest_primary", "digest_sha256", "etag", "media_type",
    "metadata", "sequence",
}


def jcs(value):
    """RFC 8785 for what a manifest holds: text and integers, never floats. Names sort by UTF-16 code units."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{jcs(name)}:{jcs(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(jcs, value)) + "]"
    assert isinstance(value, (str, int)) and not isinstance(value, bool), f"{value!r} has no place in a manifest"
    return json.dumps(value, ensure_ascii=False)


def check(producer, package, digest):
    client = s3()
    prefix = f"{package}/" if package else ""

    def get(path):
        return client.get_object(Bucket=producer, Key=prefix + path)["Body"].read()

    encoded = get(".artifact/manifest.cbor")
    manifest = cbor2.loads(encoded)
    assert cbor2.dumps(manifest, canonical=True) == encoded, "cbor2 encodes the manifest to other bytes"
    assert f"blake3:{blake3.blake3(encoded).hexdigest()}" == digest, "the manifest is not the one that was announced"
    assert get(".artifact/manifest.json").decode() == jcs(manifest), "the JSON is not the projection of the CBOR"

    assert set(manifest) == {
        "manifest_version", "package", "files", "storage_receipts", "retention_summary", "provenance",
    }, sorted(manifest)
    assert manifest["manifest_version"] == 1
    about = manifest["package"]
    assert set(about) == {"id", "producer", "name", "revision", "opened_at", "finalized_at"}, sorted(about)
    assert (about["producer"], about["name"]) == (producer, package)
    assert 1_700_000_000_000_000 < about["opened_at"] <= about["finalized_at"], "microseconds since 1970"
    assert {"tenant", "actor", "gateway_version", "first_sequence", "last_sequence"} <= set(manifest["provenance"])

    keys = [(prefix + file["relative_path"]).encode() for file in manifest["files"]]
    assert keys == sorted(keys), "the files are not in key order"
    listed = [
        entry["Key"].removeprefix(prefix)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=producer, Prefix=prefix)
        for entry in page.get("Contents", [])
    ]
    assert listed == [file["relative_path"] for file in manifest["files"]], "the manifest lists other files than S3"
    for file in manifest["files"]:
        check_file(file, get(file["relative_path"]))
    print(f"{len(manifest['files'])} files of {producer}/{package} match {digest}")


def check_file(file, data):
    assert set(file) == FILE_FIELDS, sorted(file)
    path = file["relative_path"]
    assert file["size"] == len(data), path
    assert file["digest_algorithm"] == "blake3", path
    assert file["digest_primary"] == blake3.blake3(data).hexdigest(), path
    assert file["content_address"] == f"blake3:{file['digest_primary']}", path
    assert file["digest_sha256"] == hashlib.sha256(data).hexdigest(), path
    if re.fullmatch("[0-9a-f]{32}", file["etag"]):
        assert file["etag"] == hashlib.md5(data).hexdigest(), path
    else:
        assert re.fullmatch("[0-9a-f]{32}-[0-9]+", file["etag"]), path


check(*sys.argv[1:])
