"""Writes the golden manifests, good and bad, into a folder (argument), with nothing of the gateway's own code.

The Rust side must read the good one, write it back to the same bytes, and refuse every bad one.
"""

import hashlib
import json
import os
import sys

import blake3
import cbor2


def file(path, data, sequence, **more):
    digest = blake3.blake3(data).hexdigest()
    return {
        "relative_path": path,
        "size": len(data),
        "content_address": f"blake3:{digest}",
        "digest_algorithm": "blake3",
        "digest_primary": digest,
        "digest_sha256": hashlib.sha256(data).hexdigest(),
        "etag": hashlib.md5(data).hexdigest(),
        "media_type": "binary/octet-stream",
        "metadata": {},
        "sequence": sequence,
        **more,
    }


MANIFEST = {
    "manifest_version": 1,
    "package": {
        "id": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
        "producer": "guide-board",
        "name": "run-42",
        "revision": 3,
        "opened_at": 1_763_700_000_000_000,
        "finalized_at": 1_763_700_060_000_001,
    },
    "files": [
        file("empty", b"", 23),
        # Names of metadata whose canonical order is by length first, and a value past the 16-bit lengths.
        file("logs/\u00e4 \u6f22 \U0001f600.log", b"text", 24, metadata={"commit": "0123abc", "a": "1", "zz": "z" * 300}),
        file("report.xml", b"<ok/>", 65_536, media_type="application/xml"),
        file("whole.bin", b"x" * 70_000, 4_294_967_296, etag="0" * 32 + "-2"),
    ],
    "storage_receipts": [{"backend": "local", "blobs": 4, "size_bytes": 70_009}],
    "retention_summary": {"class": "none", "mode": "none", "holds": []},
    "provenance": {
        "tenant": "main",
        "actor": "admin",
        "client": "curl/8",
        "clients": ["aws-cli/1.46.2", "rclone/v1.75.2"],
        "gateway_version": "0.1.0",
        "first_sequence": 22,
        "last_sequence": 4_294_967_296,
    },
}


def jcs(value):
    # Every name in the sample is ASCII, where sorting by code points is what RFC 8785 asks for.
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def bad(good):
    """The same manifest in ways that the canonical form forbids, and some that say another thing."""
    text = lambda name: cbor2.dumps(name)
    version = text("manifest_version")
    yield "indefinite-map", b"\xbf" + good[1:] + b"\xff"
    yield "unsorted-keys", cbor2.dumps(dict(sorted(MANIFEST.items(), reverse=True)))
    yield "long-integer", good.replace(version + b"\x01", version + b"\x18\x01")
    yield "float", good.replace(version + b"\x01", version + b"\xf9\x3c\x00")
    yield "duplicate-key", bytes([good[0] + 1]) + good[1:].replace(version + b"\x01", (version + b"\x01") * 2)
    yield "unknown-key", cbor2.dumps({**MANIFEST, "extra": 1}, canonical=True)


def main(folder):
    good = cbor2.dumps(MANIFEST, canonical=True)
    names = {"manifest-v1.cbor": good, "manifest-v1.json": jcs(MANIFEST).encode()}
    for name, encoded in bad(good):
        assert encoded != good, name
        names[f"manifest-v1-bad-{name}.cbor"] = encoded
    for name, encoded in names.items():
        with open(os.path.join(folder, name), "wb") as target:
            target.write(encoded)


main(sys.argv[1])
