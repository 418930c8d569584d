"""Writes COUNT values of BYTES bytes in one pipeline whenever it is told to go on, as often as TIMES."""

import sys

import redis

port, count, size, times = map(int, sys.argv[1:])
client = redis.Redis(port=port)
for _ in range(times):
    client.blpop("go")
    pipeline = client.pipeline(transaction=False)
    for number in range(count):
        pipeline.set(f"key:{number}", "v" * size)
    pipeline.execute()
