"""A server of one thread for each connection, which looks the name up that the path has."""

import http.server
import socket
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            socket.getaddrinfo(self.path[1:], 80, type=socket.SOCK_STREAM)
            body = b"found"
        except socket.gaierror:
            body = b"not found"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
