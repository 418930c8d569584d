"""Connections that look like others: the same source port, the same descriptor, another process than the one that
opened them, another family of addresses or network namespace than the other end. Each request's path names its case and
number; the servers listen on six ports of 127.0.0.1."""

import ctypes
import os
import socket
import struct
import sys
import threading

PLAIN, OTHER, FORKING, PASSING, REUSED, DUAL = (("127.0.0.1", int(port)) for port in sys.argv[1:7])
ROUNDS = int(sys.argv[7])
# Of unshare(2).
CLONE_NEWNET = 0x40000000


def serve(connection):
    """Answers requests until the client has no more."""
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            try:
                chunk = connection.recv(4096)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                connection.close()
                return
            buffer += chunk
        head, buffer = buffer.split(b"\r\n\r\n", 1)
        path = head.split(b" ")[1]
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path)
        connection.sendall(answer)


def listen(address):
    listener = socket.create_server(address, backlog=128)
    return listener


def serve_by_threads(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve_by_children(listener):
    """The parent accepts, a child reads and answers."""
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            serve(connection)
            os._exit(0)
        connection.close()


def serve_by_passing(listener):
    """One process accepts, another one gets the descriptor and answers."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    if os.fork() == 0:
        near.close()
        while True:
            message, descriptors, _, _ = socket.recv_fds(far, 1, 1)
            if not message:
                os._exit(0)
            connection = socket.socket(fileno=descriptors[0])
            threading.Thread(target=serve, args=(connection,), daemon=True).start()
    far.close()
    while True:
        connection, _ = listener.accept()
        socket.send_fds(near, [b"x"], [connection.fileno()])
        connection.close()


def connect(server, port=0):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    connection.bind(("127.0.0.1", port))
    connection.connect(server)
    return connection


def ask(connection, path):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: friends\r\n\r\n".encode())


def read(connection, path):
    answer = b""
    while not answer.endswith(path.encode()):
        chunk = connection.recv(4096)
        if not chunk:
            sys.exit(f"{path}: the server closed the connection")
        answer += chunk


def abort(connection):
    """Closes by a reset, so that the port is free at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def free_port():
    with socket.socket() as unbound:
        unbound.bind(("127.0.0.1", 0))
        return unbound.getsockname()[1]


def same_port_at_once(round):
    port = free_port()
    one, two = connect(PLAIN, port), connect(OTHER, port)
    for turn in range(3):
        first, second = f"/at-once-plain/{round}-{turn}", f"/at-once-other/{round}-{turn}"
        ask(one, first)
        ask(two, second)
        read(two, second)
        read(one, first)
    abort(one)
    abort(two)


def same_port_in_succession(round):
    port = free_port()
    for turn, server in enumerate([PLAIN, OTHER, PLAIN, PLAIN]):
        connection = connect(server, port)
        path = f"/succession/{round}-{turn}"
        ask(connection, path)
        read(connection, path)
        abort(connection)


def same_descriptor(round):
    one, two = connect(PLAIN), connect(OTHER)
    first, second = f"/descriptor-first/{round}", f"/descriptor-second/{round}"
    ask(one, first)
    kept = one.dup()
    # Under the number of the first connection there is now the second, while the first one's answer is under way.
    os.dup2(two.fileno(), one.fileno())
    ask(one, second)
    read(one, second)
    read(kept, first)
    for connection in (one, two, kept):
        connection.close()


def fork_after_accept(round):
    connection = connect(FORKING)
    for turn in range(2):
        path = f"/forked/{round}-{turn}"
        ask(connection, path)
        read(connection, path)
    connection.close()


def passed_by_server(round):
    connection = connect(PASSING)
    for turn in range(2):
        path = f"/passed/{round}-{turn}"
        ask(connection, path)
        read(connection, path)
    connection.close()


def passed_by_client(round):
    """The process that connected is not the one that asks."""
    connection = connect(PLAIN)
    path = f"/client-passed/{round}"
    child = os.fork()
    if child == 0:
        ask(connection, path)
        read(connection, path)
        os._exit(0)
    os.waitpid(child, 0)
    path = f"/client-kept/{round}"
    ask(connection, path)
    read(connection, path)
    connection.close()


def reuse_port(round):
    """The kernel chooses between processes that listen on one port."""
    for turn in range(2):
        connection = connect(REUSED)
        path = f"/reuse-port/{round}-{turn}"
        ask(connection, path)
        read(connection, path)
        connection.close()


def mapped_by_server(round):
    """The server's socket is one of IPv6, and sees the client as ::ffff:127.0.0.1."""
    connection = connect(DUAL)
    path = f"/mapped-server/{round}"
    ask(connection, path)
    read(connection, path)
    connection.close()


def mapped_by_client(round):
    with socket.socket(socket.AF_INET6) as connection:
        connection.connect((f"::ffff:{PLAIN[0]}", PLAIN[1]))
        path = f"/mapped-client/{round}"
        ask(connection, path)
        read(connection, path)


def moved_to_another_namespace(round):
    """A connection stays in the network namespace in which it was made."""
    connection = connect(PLAIN)
    child = os.fork()
    if child == 0:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
        path = f"/moved/{round}"
        ask(connection, path)
        read(connection, path)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("the child failed")
    connection.close()


def listen_reusing(address):
    return socket.create_server(address, backlog=128, reuse_port=True)


def listen_dual(address):
    return socket.create_server(("::", address[1]), family=socket.AF_INET6, dualstack_ipv6=True)


def start(server, address, listen=listen):
    listener = listen(address)
    child = os.fork()
    if child == 0:
        server(listener)
    listener.close()
    return child


servers = [
    start(serve_by_threads, PLAIN),
    start(serve_by_threads, OTHER),
    start(serve_by_children, FORKING),
    start(serve_by_passing, PASSING),
    start(serve_by_threads, REUSED, listen_reusing),
    start(serve_by_threads, REUSED, listen_reusing),
    start(serve_by_threads, DUAL, listen_dual),
]
try:
    for round in range(ROUNDS):
        same_port_at_once(round)
        same_port_in_succession(round)
        same_descriptor(round)
        fork_after_accept(round)
        passed_by_server(round)
        passed_by_client(round)
        reuse_port(round)
        mapped_by_server(round)
        mapped_by_client(round)
        moved_to_another_namespace(round)
finally:
    for server in servers:
        os.kill(server, 15)
