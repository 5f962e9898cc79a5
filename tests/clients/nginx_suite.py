"""nginx between the clients and the gateway, with its buffers on and off."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

from boto3.s3.transfer import TransferConfig

from common import WORK, body, main, read, refused, s3, write

CONFIG = """
{user}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off; client_max_body_size 0; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {upstream}; proxy_http_version 1.1; proxy_set_header Host $http_host;
            proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $remote_addr;
            proxy_buffering {buffering}; proxy_request_buffering {buffering};
        }}
    }}
}}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def behind(buffering):
    folder, port = os.path.join(WORK, f"nginx-{buffering}"), free_port()
    os.makedirs(folder)
    upstream = os.environ["AWS_ENDPOINT_URL"]
    # Started by root, its workers would be somebody who may not write here.
    user = "user root; " if os.geteuid() == 0 else ""
    file = write(f"nginx-{buffering}/nginx.conf", CONFIG.format(**locals()).encode())
    program = subprocess.Popen(["/usr/sbin/nginx", "-p", folder, "-c", file])
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
            except urllib.error.HTTPError:
                break
            except OSError:
                assert time.monotonic() < deadline and program.poll() is None, "nginx does not listen"
                time.sleep(0.05)
        exchange(f"nginx-{buffering}")
    finally:
        program.terminate()
        program.wait(20)
        os.environ["AWS_ENDPOINT_URL"] = upstream


def exchange(bucket):
    client = s3()
    client.create_bucket(Bucket=bucket)
    for key, size in (("run-1/empty", 0), ("run-1/a b+c%\u00e4", 70_000), ("run-1/whole", 3 * 2**20)):
        client.put_object(Bucket=bucket, Key=key, Body=body(size, size), ChecksumAlgorithm="CRC64NVME")
        assert client.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")["Body"].read() == body(size, size), key
    size = 17 * 2**20 + 3
    config = TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20, max_concurrency=4)
    client.upload_file(write("large.bin", body(1, size)), bucket, "run-2/large", Config=config)
    client.download_file(bucket, "run-2/large", os.path.join(WORK, "down"), Config=config)
    assert read("down") == body(1, size)
    with refused("404"):
        client.head_object(Bucket=bucket, Key="none")
    with refused("BadDigest"):
        client.put_object(Bucket=bucket, Key="run-1/bad", Body=b"x", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "run-1/whole"}, ExpiresIn=60)
    with urllib.request.urlopen(url, timeout=60) as reply:
        assert reply.read() == body(3 * 2**20, 3 * 2**20)
    assert len(client.list_objects_v2(Bucket=bucket)["Contents"]) == 4


main({"buffered": lambda: behind("on"), "unbuffered": lambda: behind("off")})
