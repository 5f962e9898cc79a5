"""s3cmd, unchanged, against the gateway."""

import os
import urllib.parse

from common import WORK, body, main, read, run, tree, write


def s3cmd(*arguments, ok=True):
    endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    options = [
        f"--host={endpoint.netloc}",
        f"--host-bucket={endpoint.netloc}",
        f"--access_key={os.environ['AWS_ACCESS_KEY_ID']}",
        f"--secret_key={os.environ['AWS_SECRET_ACCESS_KEY']}",
        f"--region={os.environ['AWS_DEFAULT_REGION']}",
        "--max-retries=0",
        "--no-progress",
    ]
    if endpoint.scheme == "https":
        options += ["--ssl", f"--ca-certs={os.environ['AWS_CA_BUNDLE']}"]
    else:
        options += ["--no-ssl"]
    return run("s3cmd", *options, *arguments, ok=ok)


def everything():
    s3cmd("mb", "s3://s3cmd")
    small, large = body(1, 30_000), body(2, 11 * 2**20 + 7)
    s3cmd("put", "--add-header=x-amz-meta-note:kept", write("small.bin", small), "s3://s3cmd/run-1/a b+c%.bin")
    s3cmd("put", "--multipart-chunk-size-mb=5", write("large.bin", large), "s3://s3cmd/run-1/large.bin")
    for key, data in (("a b+c%.bin", small), ("large.bin", large)):
        s3cmd("get", "--force", f"s3://s3cmd/run-1/{key}", os.path.join(WORK, "down"))
        assert read("down") == data, key
    said = s3cmd("info", "s3://s3cmd/run-1/a b+c%.bin")
    assert "x-amz-meta-note: kept" in said and "30000" in said, said
    s3cmd("cp", "s3://s3cmd/run-1/large.bin", "s3://s3cmd/run-2/copy.bin")
    s3cmd("mv", "s3://s3cmd/run-2/copy.bin", "s3://s3cmd/run-2/moved.bin")
    source = os.path.join(WORK, "source")
    for number in range(25):
        write(f"source/{number % 3}/{number}.txt", body(number, 500))
    s3cmd("sync", source + "/", "s3://s3cmd/run-3/")
    assert "upload:" not in s3cmd("sync", source + "/", "s3://s3cmd/run-3/"), "the second sync does nothing"
    target = os.path.join(WORK, "target")
    os.makedirs(target)
    s3cmd("sync", "s3://s3cmd/run-3/", target + "/")
    assert tree(target) == tree(source)
    assert s3cmd("ls", "--recursive", "s3://s3cmd").count("s3://s3cmd/") == 28
    assert "BucketNotEmpty" in s3cmd("rb", "s3://s3cmd", ok=False)
    s3cmd("del", "--recursive", "--force", "s3://s3cmd/")
    s3cmd("rb", "s3://s3cmd")


main({"everything": everything})
