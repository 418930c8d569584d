"""Asks the service and hands orders over."""

import asyncio
import os

import nats


async def main():
    client = await nats.connect(os.environ["NATS_URL"])
    answer = await client.request("upper", b"abc", timeout=30)
    assert answer.data == b"ABC"
    stream = client.jetstream()
    await stream.publish("orders.paid", b"a parcel for Ann")
    await stream.publish("orders.paid", b"")
    await client.drain()


asyncio.run(main())
