"""Signs in to NATS with a wrong password, then with the right one, and asks for nothing."""

import asyncio
import os

import nats
import nats.errors


async def main():
    url = os.environ["NATS_URL"]
    try:
        await nats.connect(url, user="postman", password="guessed", allow_reconnect=False)
        raise SystemExit("the wrong password was taken")
    except nats.errors.Error as error:
        print(type(error).__name__)
    client = await nats.connect(url, user="postman", password="stamped", allow_reconnect=False)
    await client.flush()
    await client.close()


asyncio.run(main())
