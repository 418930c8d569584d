"""Answers requests, and takes orders off a stream; ends with an empty one."""

import asyncio
import os

import nats


async def answer(message):
    await message.respond(message.data.upper())


async def main():
    client = await nats.connect(os.environ["NATS_URL"])
    await client.subscribe("upper", queue="services", cb=answer)
    stream = client.jetstream()
    await stream.add_stream(name="ORDERS", subjects=["orders.*"])
    orders = await stream.subscribe("orders.*", durable="packer", manual_ack=True)
    await client.flush()
    print("ready", flush=True)
    while True:
        order = await orders.next_msg(timeout=60)
        await order.ack()
        if not order.data:
            break
    await client.drain()


asyncio.run(main())
