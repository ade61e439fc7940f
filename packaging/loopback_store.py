"""A name server and an object store on loopback, for packaging/check only.

    loopback_store.py DIR CERTIFICATE KEY

The name server (127.0.0.1:53) knows the one name `store.test`. The store takes PUTs, each into a file of DIR named by
the request's Host, over HTTP at port 9000 and over HTTPS at port 9443. "ready" on standard output once all listen.
"""

import pathlib
import socket
import ssl
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TYPE_A = 1
NXDOMAIN = 3


def answer(query: bytes) -> bytes:
    """The answer to a query with one question: 127.0.0.1 for the A record of `store.test`."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]])
        at += 1 + query[at]
    (query_type,) = struct.unpack(">H", query[at + 1 : at + 3])
    question = query[12 : at + 5]
    known = b".".join(labels).lower() == b"store.test"
    record = b""
    if known and query_type == TYPE_A:
        record = b"\xc0\x0c" + struct.pack(">HHIH", TYPE_A, 1, 60, 4) + bytes([127, 0, 0, 1])
    flags = 0x8180 | (0 if known else NXDOMAIN)
    return query[:2] + struct.pack(">HHHHH", flags, 1, 1 if record else 0, 0, 0) + question + record


def serve_names(listener: socket.socket) -> None:
    while True:
        query, client = listener.recvfrom(512)
        listener.sendto(answer(query), client)


class Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: pathlib.Path

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        (self.folder / self.headers["Host"].replace(":", "-")).write_bytes(body)
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    folder, certificate, key = sys.argv[1:]
    Store.folder = pathlib.Path(folder)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 53))
    plain = ThreadingHTTPServer(("127.0.0.1", 9000), Store)
    secure = ThreadingHTTPServer(("127.0.0.1", 9443), Store)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    threading.Thread(target=serve_names, args=(names,), daemon=True).start()
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    print("ready", flush=True)
    secure.serve_forever()


main()
