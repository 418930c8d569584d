"""Publishes 30 messages of SIZE bytes to a stream, and pulls and acknowledges them in one batch."""

import asyncio
import os
import sys

import nats

MESSAGES = 30


async def main(size):
    client = await nats.connect(os.environ["NATS_URL"])
    stream = client.jetstream()
    await stream.add_stream(name="PARCELS", subjects=["parcels"])
    for _ in range(MESSAGES):
        await stream.publish("parcels", b"p" * size)
    packer = await stream.pull_subscribe("parcels", "packer")
    got = 0
    while got < MESSAGES:
        for message in await packer.fetch(MESSAGES - got, timeout=30):
            await message.ack()
            got += 1
    await client.drain()


asyncio.run(main(int(sys.argv[1])))
