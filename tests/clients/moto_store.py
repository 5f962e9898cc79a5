"""moto, an S3 in memory, for one test: prints its endpoint, and ends when its standard input does."""

import sys

from moto.server import ThreadedMotoServer


def main():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    print(f"127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop()


main()
