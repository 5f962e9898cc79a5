"""s5cmd, unchanged, against the gateway."""

import os

from common import WORK, body, main, read, run, tree, write


def s5cmd(*arguments, ok=True):
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    return run("s5cmd", "--endpoint-url", endpoint, "--retry-count", "0", *arguments, ok=ok)


def everything():
    s5cmd("mb", "s3://s5cmd")
    small, large = body(1, 30_000), body(2, 23 * 2**20 + 7)
    s5cmd("cp", write("small.bin", small), "s3://s5cmd/run-1/a b+c%.bin")
    s5cmd("cp", "--part-size", "5", "--concurrency", "4", write("large.bin", large), "s3://s5cmd/run-1/large.bin")
    for key, data in (("a b+c%.bin", small), ("large.bin", large)):
        s5cmd("cp", "--part-size", "5", f"s3://s5cmd/run-1/{key}", os.path.join(WORK, "down"))
        assert read("down") == data, key
    source = os.path.join(WORK, "source")
    for number in range(200):
        write(f"source/{number % 7}/{number}.txt", body(number, 500))
    s5cmd("cp", source + "/", "s3://s5cmd/run-2/")
    assert s5cmd("sync", source + "/", "s3://s5cmd/run-2/") == "", "a sync behind a copy does nothing"
    s5cmd("cp", "s3://s5cmd/run-2/*", os.path.join(WORK, "target") + "/")
    assert tree(os.path.join(WORK, "target")) == tree(source)
    s5cmd("mv", "s3://s5cmd/run-1/large.bin", "s3://s5cmd/run-3/moved.bin")
    listed = s5cmd("ls", "s3://s5cmd/*")
    assert len(listed.splitlines()) == 202 and "run-3/moved.bin" in listed, listed
    assert "200" in s5cmd("du", "s3://s5cmd/run-2/*")
    assert "NoSuchBucket" in s5cmd("ls", "s3://s5cmd-nowhere/", ok=False)
    s5cmd("rm", "s3://s5cmd/*")
    s5cmd("rb", "s3://s5cmd")


main({"everything": everything})
