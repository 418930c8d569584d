"""Asks for `/users/NUMBER`, each time by a connection that resumes the session of the first: resumed.py PORT AUTHORITY FIRST COUNT

The end of each handshake and the request are sent together.
"""

import socket
import ssl
import sys

port, authority, first, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
context = ssl.create_default_context(cafile=authority)
# In TLS 1.3 a server has a key for the request only after the end of the handshake, and reads that by itself.
context.maximum_version = ssl.TLSVersion.TLSv1_2


def ask(number, session):
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    with context.wrap_socket(plain, server_hostname="localhost", session=session) as secure:
        secure.sendall(f"GET /users/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        secure.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        answer = secure.recv(4096)
        assert b" 200 " in answer, answer
        assert session is None or secure.session_reused
        return secure.session


session = ask(first, None)
for number in range(first + 1, first + 1 + count):
    ask(number, session)
