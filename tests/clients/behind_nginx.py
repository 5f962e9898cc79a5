"""Runs a program with nginx between it and the gateway: behind_nginx.py <on|off> <program> <argument>...

`on` and `off` are nginx's buffers, those of requests and those of answers. When the gateway speaks TLS, nginx does so
with it, and plain HTTP with the program.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

CONFIG = """
{user}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 2048; }}
http {{
    access_log {folder}/access.log; client_max_body_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
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


def lines(file):
    with open(file, "rb") as opened:
        return opened.read().count(b"\n")


def run(buffering, command, folder):
    port, upstream = free_port(), os.environ["AWS_ENDPOINT_URL"]
    # Started by root, its workers would be somebody who may not write here.
    user = "user root; " if os.geteuid() == 0 else ""
    file = os.path.join(folder, "nginx.conf")
    with open(file, "w") as opened:
        opened.write(CONFIG.format(**locals()))
    nginx = subprocess.Popen(["/usr/sbin/nginx", "-p", folder, "-c", file])
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
            except urllib.error.HTTPError:
                break
            except OSError:
                assert time.monotonic() < deadline and nginx.poll() is None, "nginx does not listen"
                time.sleep(0.05)
        before = lines(os.path.join(folder, "access.log"))
        code = subprocess.run(command, env={**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}).returncode
    finally:
        nginx.terminate()
        nginx.wait(20)
    passed = lines(os.path.join(folder, "access.log")) - before
    print(f"{passed} requests came through nginx")
    assert code != 0 or passed > 5, "the program went another way"
    return code


if __name__ == "__main__":
    assert len(sys.argv) > 2 and sys.argv[1] in ("on", "off"), __doc__
    with tempfile.TemporaryDirectory() as place:
        sys.exit(run(sys.argv[1], sys.argv[2:], place))
