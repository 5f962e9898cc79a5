"""The AWS command line client 2.9, as Debian ships it: it knows no checksums of bodies, and signs as clients did for years."""

import os

from common import WORK, body, main, read, run, tree, write

# The environment has another aws, of PyPI.
AWS = "/usr/bin/aws"


def aws(*arguments, ok=True):
    options = ("--endpoint-url", os.environ["AWS_ENDPOINT_URL"])
    return run(AWS, *options, *arguments, ok=ok, env={"AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": ""})


def everything():
    assert run(AWS, "--version").startswith("aws-cli/2.9."), "another client than the old one"
    aws("s3", "mb", "s3://aws2")
    small, large = body(1, 30_000), body(2, 19 * 2**20 + 7)
    aws("s3", "cp", write("small.bin", small), "s3://aws2/run-1/a b+c%.bin")
    aws("s3", "cp", write("large.bin", large), "s3://aws2/run-1/large.bin")
    for key, data in (("a b+c%.bin", small), ("large.bin", large)):
        aws("s3", "cp", f"s3://aws2/run-1/{key}", os.path.join(WORK, "down"))
        assert read("down") == data, key
    source = os.path.join(WORK, "source")
    for number in range(40):
        write(f"source/{number % 3}/{number}.txt", body(number, 500))
    aws("s3", "sync", "--only-show-errors", source, "s3://aws2/run-2")
    assert aws("s3", "sync", source, "s3://aws2/run-2") == "", "the second sync does nothing"
    aws("s3", "sync", "--only-show-errors", "s3://aws2/run-2", os.path.join(WORK, "target"))
    assert tree(os.path.join(WORK, "target")) == tree(source)
    aws("s3", "cp", "s3://aws2/run-1/large.bin", "s3://aws2/run-3/copy.bin")
    aws("s3api", "put-object", "--bucket", "aws2", "--key", "run-3/md5", "--body", os.path.join(WORK, "small.bin"),
        "--content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", ok=False)
    assert "NoSuchKey" in aws("s3api", "get-object", "--bucket", "aws2", "--key", "run-3/md5", "out", ok=False)
    assert "(404)" in aws("s3api", "head-object", "--bucket", "aws2", "--key", "none", ok=False)
    aws("s3", "rm", "--recursive", "--only-show-errors", "s3://aws2/")
    aws("s3", "rb", "s3://aws2")


main({"everything": everything})
