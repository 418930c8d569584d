"""Asks a server by HTTP/2 for the path in each line that is read, on one connection, and prints the status.

Usage: asked.py URL"""

import sys

import httpx

with httpx.Client(http1=False, http2=True) as client:
    for path in sys.stdin:
        print(client.get(sys.argv[1] + path.strip()).status_code, flush=True)
