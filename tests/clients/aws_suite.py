"""The AWS command line client, unchanged, against the gateway."""

import os
import shutil
import urllib.request

from common import WORK, admin, body, main, rate, read, real_tree, refused, run, s3, timed, tree, write


def aws(*arguments, ok=True, env=None):
    # No retries: a suite that only passes at the second attempt has found something.
    return run("aws", *arguments, ok=ok, env={"AWS_MAX_ATTEMPTS": "1", **(env or {})})


def small():
    aws("s3", "mb", "s3://aws-small")
    sizes = [0, 1, 1000, 1_000_000, 8 * 2**20 - 1]
    for number, size in enumerate(sizes):
        path = write(f"up/{size}.bin", body(number, size))
        aws("s3", "cp", path, f"s3://aws-small/run-1/{size}.bin")
        aws("s3", "cp", f"s3://aws-small/run-1/{size}.bin", os.path.join(WORK, f"down-{size}.bin"))
        assert read(f"down-{size}.bin") == body(number, size), size
    listed = aws("s3", "ls", "s3://aws-small/run-1/")
    assert [line.split()[-1] for line in listed.splitlines()] == sorted(f"{size}.bin" for size in sizes), listed
    assert "PRE run-1/" in aws("s3", "ls", "s3://aws-small/")
    assert "aws-small" in aws("s3", "ls")
    odd = write("up/odd.bin", b"odd")
    for key in ("run-1/a b+c%d&e.txt", "run-1/\u00e4\u6f22\U0001f600.txt"):
        aws("s3", "cp", odd, f"s3://aws-small/{key}")
        aws("s3", "cp", f"s3://aws-small/{key}", os.path.join(WORK, "odd-down"))
        assert read("odd-down") == b"odd", key
    assert "piped" in run("bash", "-c", "echo piped | aws s3 cp - s3://aws-small/run-1/p && aws s3 cp s3://aws-small/run-1/p -")


def large():
    aws("s3", "mb", "s3://aws-large")
    size = 60 * 2**20 + 12_345
    path = write("large.bin", body(1, size))
    up = timed(lambda: aws("s3", "cp", path, "s3://aws-large/run-1/large.bin"))
    rate("aws s3 cp up, 60 MB in parts", 1, size, up)
    down = timed(lambda: aws("s3", "cp", "s3://aws-large/run-1/large.bin", os.path.join(WORK, "large.down")))
    rate("aws s3 cp down, 60 MB in ranges", 1, size, down)
    assert read("large.down") == body(1, size)
    aws("s3", "cp", "s3://aws-large/run-1/large.bin", "s3://aws-large/run-2/copy.bin")
    aws("s3", "cp", "s3://aws-large/run-2/copy.bin", os.path.join(WORK, "copy.down"))
    assert read("copy.down") == body(1, size)
    assert not s3().list_multipart_uploads(Bucket="aws-large").get("Uploads"), "no upload is left open"


def files_tree():
    folder, files, size = real_tree()
    aws("s3", "mb", "s3://aws-tree")
    # The list of what was transferred is kept off: writing it would be part of what is measured.
    up = timed(lambda: aws("s3", "cp", "--recursive", "--only-show-errors", folder, "s3://aws-tree/run-1/"))
    rate("aws s3 cp --recursive up", len(files), size, up)
    target = os.path.join(WORK, "tree-down")
    down = timed(lambda: aws("s3", "cp", "--recursive", "--only-show-errors", "s3://aws-tree/run-1/", target))
    rate("aws s3 cp --recursive down", len(files), size, down)
    assert tree(target) == files, "the tree that came down is not the one that went up"


def sync():
    folder, files, size = real_tree()
    # A tenth of it is enough here: `tree` measures the whole.
    kept = sorted(files)[:: max(1, len(files) // 400)]
    source = os.path.join(WORK, "sync-source")
    for path in kept:
        write(os.path.join(source, path), read(os.path.join(folder, path)))
    aws("s3", "mb", "s3://aws-sync")
    said = aws("s3", "sync", "--no-progress", source, "s3://aws-sync/run-1")
    assert said.count("upload:") == len(kept), said
    again = aws("s3", "sync", "--no-progress", source, "s3://aws-sync/run-1")
    assert again == "", f"the second sync transfers nothing, not:\n{again}"
    target = os.path.join(WORK, "sync-target")
    aws("s3", "sync", "--only-show-errors", "s3://aws-sync/run-1", target)
    assert tree(target) == tree(source)
    assert aws("s3", "sync", "--no-progress", "s3://aws-sync/run-1", target) == ""
    write(os.path.join(source, kept[0]), b"changed, and of another size")
    os.remove(os.path.join(source, kept[1]))
    said = aws("s3", "sync", "--no-progress", "--delete", source, "s3://aws-sync/run-1")
    assert said.count("upload:") == 1 and said.count("delete:") == 1, said
    shutil.rmtree(target)
    aws("s3", "sync", "--only-show-errors", "s3://aws-sync/run-1", target)
    assert tree(target) == tree(source)


def remove_presign():
    aws("s3", "mb", "s3://aws-rm")
    for number in range(12):
        aws("s3", "cp", write("rm.bin", body(number, 2000)), f"s3://aws-rm/run-1/{number:02}.bin")
    aws("configure", "set", "default.s3.signature_version", "s3v4")
    url = aws("s3", "presign", "s3://aws-rm/run-1/03.bin", "--expires-in", "120").strip()
    assert "X-Amz-Signature" in url, url
    with urllib.request.urlopen(url, timeout=60) as reply:
        assert reply.read() == body(3, 2000)
    aws("s3", "mv", "s3://aws-rm/run-1/03.bin", "s3://aws-rm/run-1/moved.bin")
    aws("s3", "rm", "s3://aws-rm/run-1/00.bin")
    left = aws("s3", "ls", "s3://aws-rm/run-1/")
    assert "00.bin" not in left and "03.bin" not in left and "moved.bin" in left, left
    assert "BucketNotEmpty" in aws("s3", "rb", "s3://aws-rm", ok=False)
    aws("s3", "rm", "--recursive", "s3://aws-rm/")
    aws("s3", "rb", "s3://aws-rm")
    assert "NoSuchBucket" in aws("s3", "ls", "s3://aws-rm", ok=False)


def finalized():
    aws("s3", "mb", "s3://aws-final")
    aws("s3", "cp", write("a.txt", b"a"), "s3://aws-final/run-1/a.txt")
    aws("s3", "cp", write("empty", b""), "s3://aws-final/run-1/.artifact/finalize")
    big = write("big.bin", body(1, 9 * 2**20))
    for command in (
        ("cp", write("b.txt", b"b"), "s3://aws-final/run-1/b.txt"),
        ("cp", big, "s3://aws-final/run-1/big.bin"),
        ("rm", "s3://aws-final/run-1/a.txt"),
        ("cp", "s3://aws-final/run-1/a.txt", "s3://aws-final/run-1/c.txt"),
    ):
        said = aws("s3", *command, ok=False)
        assert "AccessDenied" in said and "run-1" in said and "blake3:" in said, said
    with refused("AccessDenied"):
        s3().put_object(Bucket="aws-final", Key="run-1/b.txt", Body=b"b")
    manifest = aws("s3", "cp", "s3://aws-final/run-1/.artifact/manifest.json", "-")
    assert '"relative_path":"a.txt"' in manifest, manifest
    assert b"finalized" in admin("GET", "/v1/producers/aws-final/packages?name=run-1")


main({
    "small": small,
    "large": large,
    "tree": files_tree,
    "sync": sync,
    "remove-presign": remove_presign,
    "finalized": finalized,
})
