"""rclone, unchanged, against the gateway."""

import os

from common import WORK, body, main, rate, read, real_tree, run, timed, tree, write


def rclone(*arguments, ok=True):
    remote = {
        "RCLONE_CONFIG": os.path.join(WORK, "none.conf"),
        "RCLONE_CONFIG_GATE_TYPE": "s3",
        # `Other` works over plain HTTP; the AWS profile of rclone refuses to sign such bodies by itself.
        "RCLONE_CONFIG_GATE_PROVIDER": "Other",
        "RCLONE_CONFIG_GATE_ENDPOINT": os.environ["AWS_ENDPOINT_URL"],
        "RCLONE_CONFIG_GATE_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "RCLONE_CONFIG_GATE_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
        "RCLONE_CONFIG_GATE_REGION": os.environ["AWS_DEFAULT_REGION"],
    }
    return run("rclone", "--retries", "1", "--low-level-retries", "1", *arguments, ok=ok, env=remote)


def transfers(*arguments):
    """How many files a run of rclone copied, changed and removed, by its own words."""
    said = run_verbose(*arguments)
    copied = said.count(": Copied (")
    touched = said.count("Updated modification time")
    removed = said.count(": Deleted")
    return copied, touched, removed


def run_verbose(*arguments):
    log = os.path.join(WORK, "rclone.log")
    if os.path.exists(log):
        os.remove(log)
    rclone("-v", "--log-file", log, *arguments)
    return read("rclone.log").decode()


def sync():
    folder, files, _ = real_tree()
    kept = sorted(files)[:: max(1, len(files) // 500)]
    source = os.path.join(WORK, "source")
    for path in kept:
        write(os.path.join(source, path), read(os.path.join(folder, path)))
    write(os.path.join(source, "odd/a b+c%d \u00e4\u6f22.txt"), b"odd")
    size = sum(os.path.getsize(os.path.join(source, path)) for path in tree(source))
    rclone("mkdir", "gate:rclone-sync")
    count = len(tree(source))
    seconds = timed(lambda: rclone("sync", source, "gate:rclone-sync/run-1"))
    rate("rclone sync up", count, size, seconds)
    assert transfers("sync", source, "gate:rclone-sync/run-1") == (0, 0, 0), "the second sync does nothing"
    rclone("check", source, "gate:rclone-sync/run-1")
    rclone("check", "--download", source, "gate:rclone-sync/run-1")
    target = os.path.join(WORK, "target")
    rclone("sync", "gate:rclone-sync/run-1", target)
    assert tree(target) == tree(source)

    os.utime(os.path.join(source, kept[0]), (1_700_000_000, 1_700_000_000))
    write(os.path.join(source, kept[1]), b"changed, and of another size")
    os.remove(os.path.join(source, kept[2]))
    assert transfers("sync", source, "gate:rclone-sync/run-1") == (1, 1, 1)
    assert transfers("sync", source, "gate:rclone-sync/run-1") == (0, 0, 0)
    rclone("check", "--download", source, "gate:rclone-sync/run-1")
    write(os.path.join(source, kept[3]), b"not there")
    rclone("check", source, "gate:rclone-sync/run-1", ok=False)
    rclone("delete", "gate:rclone-sync/run-1")
    assert rclone("lsf", "-R", "--files-only", "gate:rclone-sync") == ""
    rclone("rmdir", "gate:rclone-sync")


def touch():
    source = os.path.join(WORK, "source")
    for number in range(3):
        write(os.path.join(source, f"{number}.bin"), body(number, 100_000))
    rclone("mkdir", "gate:rclone-touch")
    rclone("sync", source, "gate:rclone-touch/run-1")
    os.utime(os.path.join(source, "1.bin"), (1_700_000_000, 1_700_000_000))
    assert transfers("sync", source, "gate:rclone-touch/run-1") == (0, 1, 0)
    assert transfers("sync", source, "gate:rclone-touch/run-1") == (0, 0, 0), "the new time was kept"
    rclone("check", "--download", source, "gate:rclone-touch/run-1")


def large():
    size = 70 * 2**20 + 99
    path = write("large/large.bin", body(1, size))
    rclone("mkdir", "gate:rclone-large")
    parts = ("--s3-upload-cutoff", "16M", "--s3-chunk-size", "8M", "--s3-upload-concurrency", "4")
    seconds = timed(lambda: rclone("copyto", *parts, path, "gate:rclone-large/run-1/large.bin"))
    rate("rclone copyto up, 70 MB in parts", 1, size, seconds)
    # Without hashes rclone would compare sizes only: `check` takes the MD5 that it left in the metadata.
    rclone("check", os.path.dirname(path), "gate:rclone-large/run-1")
    rclone("copyto", "gate:rclone-large/run-1/large.bin", os.path.join(WORK, "down.bin"))
    assert read("down.bin") == body(1, size)
    rclone("copyto", "gate:rclone-large/run-1/large.bin", "gate:rclone-large/run-2/copy.bin")
    rclone("copyto", "gate:rclone-large/run-2/copy.bin", os.path.join(WORK, "copy.bin"))
    assert read("copy.bin") == body(1, size)


main({"sync": sync, "touch": touch, "large": large})
