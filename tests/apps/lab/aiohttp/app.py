"""aiohttp server and client, asyncpg and redis.asyncio."""

import asyncio
import os
import random
import ssl

import aiohttp
import asyncpg
import redis.asyncio as redis
from aiohttp import web

DATABASE = web.AppKey("database", asyncpg.Pool)
CACHE = web.AppKey("cache", redis.Redis)
CLIENT = web.AppKey("client", aiohttp.ClientSession)
routes = web.RouteTableDef()


async def fetch(app, number):
    async with app[CLIENT].get(f"{os.environ['DOWN_URL']}/down/{number}") as response:
        return await response.json(content_type=None)


async def item(app, number):
    return await app[DATABASE].fetchval(f"SELECT name FROM items WHERE id = {number:d}")


async def cached(app, number):
    return await app[CACHE].get(f"item:{number}")


async def pause():
    await asyncio.sleep(random.uniform(0.001, 0.005))


@routes.get("/healthz")
async def healthz(request):
    return web.Response(text="ok")


@routes.get(r"/paced/{number:\d+}")
async def work(request):
    number = int(request.match_info["number"])
    down = await fetch(request.app, number)
    await pause()
    name = await item(request.app, number)
    await pause()
    kept = await cached(request.app, number)
    return web.json_response({"id": number, "down": down, "name": name, "cached": kept})


@routes.get(r"/await/{number:\d+}")
async def straight(request):
    number = int(request.match_info["number"])
    down = await fetch(request.app, number)
    name = await item(request.app, number)
    kept = await cached(request.app, number)
    return web.json_response({"id": number, "down": down, "name": name, "cached": kept})


@routes.get(r"/fan/{number:\d+}")
async def fan(request):
    number = int(request.match_info["number"])
    calls = (call(request.app, number) for call in (fetch, item, cached))
    down, name, kept = await asyncio.gather(*calls)
    return web.json_response({"id": number, "down": down, "name": name, "cached": kept})


async def neighbours(app):
    app[DATABASE] = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=2, max_size=20)
    app[CACHE] = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    app[CLIENT] = aiohttp.ClientSession()
    yield
    await app[CLIENT].close()
    await app[CACHE].aclose()
    await app[DATABASE].close()


if __name__ == "__main__":
    app = web.Application()
    app.add_routes(routes)
    app.cleanup_ctx.append(neighbours)
    context = None
    if certificate := os.environ.get("TLS_CERTIFICATE"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, os.environ["TLS_KEY"])
    port = int(os.environ["PORT"])
    web.run_app(app, host="127.0.0.1", port=port, ssl_context=context, print=None, access_log=None)
