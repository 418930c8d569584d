"""A chat by `websockets`, which says everything back: PORT."""

import asyncio
import sys

from websockets.asyncio.server import serve


async def chat(socket):
    async for text in socket:
        await socket.send(text)


async def main():
    async with serve(chat, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
