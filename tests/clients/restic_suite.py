"""restic, unchanged, with its repository in the gateway: backups, deduplicated, checked, restored and pruned."""

import json
import os

from common import WORK, body, main, run, tree, write


def restic(*arguments, ok=True):
    environment = {
        "RESTIC_REPOSITORY": f"s3:{os.environ['AWS_ENDPOINT_URL']}/restic/repository",
        "RESTIC_PASSWORD": "a password of the test",
        "RESTIC_CACHE_DIR": os.path.join(WORK, "cache"),
    }
    return run("restic", *arguments, ok=ok, env=environment)


def everything():
    source = os.path.join(WORK, "source")
    for number in range(60):
        write(f"source/{number % 5}/{number}.bin", body(number, 40_000 * (number % 4)))
    write("source/large.bin", body(100, 9 * 2**20))
    restic("init")
    restic("backup", source)
    restic("check", "--read-data")
    first = tree(source)
    write("source/0/0.bin", b"changed")
    os.remove(os.path.join(source, "large.bin"))
    write("source/new.bin", body(101, 6 * 2**20))
    restic("backup", source)
    snapshots = json.loads(restic("snapshots", "--json"))
    assert len(snapshots) == 2, snapshots
    for snapshot, wanted in ((snapshots[0]["id"], first), ("latest", tree(source))):
        target = os.path.join(WORK, f"restored-{snapshot[:8]}")
        restic("restore", snapshot, "--target", target)
        assert tree(os.path.join(target, source.lstrip("/"))) == wanted, snapshot
    restic("forget", "--keep-last", "1", "--prune")
    assert len(json.loads(restic("snapshots", "--json"))) == 1
    restic("check", "--read-data")


main({"everything": everything})
