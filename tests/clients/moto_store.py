"""moto, an S3 in memory, for one test: prints its address, and ends when its standard input does.

Where a Docker daemon answers and has moto's image (or can get it), moto runs in a container; else as a process here.
ARTIFACTSTORE_MOTO=container or =process leaves no choice.
"""

import os
import sys
import time
import urllib.request

IMAGE = "motoserver/moto:5.2.5"
PORT = 5000
START_SECONDS = 60


class Process:
    def __init__(self):
        from moto.server import ThreadedMotoServer

        self.server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.server.start()

    def address(self):
        _, port = self.server.get_host_and_port()
        return f"127.0.0.1:{port}"

    def stop(self):
        self.server.stop()


class Container:
    def __init__(self):
        # Its own clean-up is another image; the end of the standard input is clean-up enough.
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        from testcontainers.core.container import DockerContainer

        self.container = DockerContainer(IMAGE).with_exposed_ports(PORT)
        self.container.start()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"http://{self.address()}/moto-api/", timeout=5).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    self.stop()
                    raise
                time.sleep(0.1)

    def address(self):
        host = self.container.get_container_host_ip()
        port = self.container.get_exposed_port(PORT)
        return f"{'127.0.0.1' if host == 'localhost' else host}:{port}"

    def stop(self):
        self.container.stop()


def docker_has_image():
    import docker

    try:
        client = docker.from_env(timeout=10)
        client.ping()
    except docker.errors.DockerException:
        return False
    try:
        client.images.get(IMAGE)
        return True
    except docker.errors.ImageNotFound:
        pass
    try:
        client.images.pull(IMAGE)
        return True
    except docker.errors.DockerException as error:
        print(f"moto_store: no container, because there is no {IMAGE}: {error}", file=sys.stderr)
        return False


def main():
    wanted = os.environ.get("ARTIFACTSTORE_MOTO", "")
    in_container = wanted == "container" or (wanted != "process" and docker_has_image())
    store = Container() if in_container else Process()
    try:
        print(f"{store.address()} {'container' if in_container else 'process'}", flush=True)
        sys.stdin.read()
    finally:
        store.stop()


main()
