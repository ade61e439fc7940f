"""Hands GET and POST requests on to a server, for those who show a client certificate and know a password or a token.

tls_proxy.py PORT UPSTREAM CERTIFICATE KEY CLIENT_CA
"""

import http.server
import ssl
import sys
import urllib.error
import urllib.request

ALLOWED = ("Basic bWU6aHVudGVyMg==", "Bearer hunter2")


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Authorization") not in ALLOWED:
            return self.answer(401, b'{"error_code":401,"message":"not for you"}')
        try:
            with urllib.request.urlopen(self.request_of(sys.argv[2] + self.path)) as upstream:
                self.answer(upstream.status, upstream.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read())

    do_POST = do_GET

    def request_of(self, url):
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else None
        headers = {name: value for name, value in self.headers.items() if name not in ("Host", "Authorization")}
        return urllib.request.Request(url, data=body, headers=headers)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address):  # A refused handshake is not the end.
        print(address, sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1])

    def finish_request(self, request, address):
        request.do_handshake()
        super().finish_request(request, address)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3], sys.argv[4])
context.load_verify_locations(sys.argv[5])
context.verify_mode = ssl.CERT_REQUIRED
server = Server(("127.0.0.1", int(sys.argv[1])), Proxy)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
