"""Loads TLS when it is told to, and asks for `/since/M` until it is killed, M being the milliseconds since then.

Usage: late.py PORT BEGIN: it begins when the file BEGIN is there.
"""

import os
import socket
import sys
import time

port, begin = int(sys.argv[1]), sys.argv[2]
while not os.path.exists(begin):
    time.sleep(0.01)

import ssl  # noqa: E402

since = time.monotonic()
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
while True:
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
        number = int((time.monotonic() - since) * 1000)
        connection.sendall(b"GET /since/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
        answer = b""
        while b"/since/%d" % number not in answer:
            answer += connection.recv(4096)
    time.sleep(0.01)
