"""What the suites share: a place to work, clients made from the environment, and small checks.

Everything comes from the environment that the test harness sets: AWS_ENDPOINT_URL with the keys beside it, and
ARTIFACTSTORE_URL with ARTIFACTSTORE_ADMIN_TOKEN for the admin REST. When the gateway speaks TLS, AWS_CA_BUNDLE and SSL_CERT_FILE
name the authority to trust.
"""

import atexit
import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
import botocore.config
import botocore.exceptions

WORK = tempfile.mkdtemp(prefix="suite-")
atexit.register(shutil.rmtree, WORK, ignore_errors=True)


def body(seed, size):
    """Bytes that look random and are the same in every run."""
    return random.Random(seed).randbytes(size)


def write(path, data):
    """Writes a file, its folders included, and gives its path."""
    path = os.path.join(WORK, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    return path


def read(path):
    with open(os.path.join(WORK, path), "rb") as file:
        return file.read()


def tree(folder):
    """Relative path -> SHA-256 of every file under a folder."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


# How many files the real tree has at most.
TREE_FILES = 3000


def real_tree():
    """A copy of a real tree of thousands of files: what is installed in this Python environment."""
    target = os.path.join(WORK, "real-tree")
    source = os.path.join(sys.prefix, "lib")
    # A client of one process takes a second for every hundred of them: some thousands are enough.
    count = 0
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            path = os.path.join(folder, name)
            if count < TREE_FILES and not name.startswith("rclone"):
                copy = os.path.join(target, os.path.relpath(path, source))
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copy(path, copy)
                count += 1
    files = tree(target)
    assert len(files) > 2000, f"only {len(files)} files are no real tree"
    size = sum(os.path.getsize(os.path.join(target, path)) for path in files)
    return target, files, size


def rate(what, files, size, seconds):
    """Prints the figures that the closing notes quote."""
    mib = size / 2**20
    print(f"FIGURE {what}: {files} files, {mib:.1f} MiB in {seconds:.1f} s = {files / seconds:.0f} files/s, {mib / seconds:.1f} MiB/s")


def s3(**settings):
    """A boto3 client in path style."""
    config = botocore.config.Config(
        s3={"addressing_style": "path"}, signature_version="s3v4", retries={"total_max_attempts": 1}, **settings
    )
    return boto3.client("s3", config=config)


@contextlib.contextmanager
def refused(*codes):
    """Holds a call to being refused with one of these codes; the error is given for a closer look."""
    seen = {}
    try:
        yield seen
    except botocore.exceptions.ClientError as error:
        seen["error"] = error.response
        code = error.response["Error"]["Code"]
        assert code in codes, f"refused with {code}, not {codes}: {error}"
    else:
        raise AssertionError(f"was not refused with {codes}")


def run(*command, ok=True, env=None):
    """Runs a program; gives what it said. With ok=False it must fail."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, env={**os.environ, **(env or {})})
    said = f"{' '.join(command)} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert (done.returncode == 0) == ok, said
    return done.stdout if ok else done.stdout + done.stderr


def admin(method, path, data=None, accept="application/json"):
    """A call of the admin REST; gives the raw answer."""
    request = urllib.request.Request(
        os.environ["ARTIFACTSTORE_URL"] + path,
        method=method,
        data=None if data is None else json.dumps(data).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['ARTIFACTSTORE_ADMIN_TOKEN']}",
            "Accept": accept,
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return reply.read()


def timed(call):
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def main(parts):
    """Runs the parts that the command line names; with none, all."""
    for name in sys.argv[1:] or list(parts):
        begun = time.monotonic()
        parts[name]()
        print(f"{name}: {time.monotonic() - begun:.1f} s")
