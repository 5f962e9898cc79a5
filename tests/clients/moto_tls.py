"""moto, an S3 in memory, on two ports: in plain HTTP, and over TLS with a certificate of a private authority.

    moto_tls.py FOLDER      writes FOLDER/ca.pem and prints both addresses; ends when its standard input does
"""

import ssl
import sys
import threading
from pathlib import Path

import trustme
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


def serve(app, **more):
    server = make_server("127.0.0.1", 0, app, threaded=True, **more)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_port}"


def main():
    folder = Path(sys.argv[1])
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    app = DomainDispatcherApplication(create_backend_app)
    print(serve(app), serve(app, ssl_context=context), flush=True)
    sys.stdin.read()


main()
