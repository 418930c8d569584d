"""FastAPI with asyncpg, httpx and redis.asyncio. Neighbours come from the environment."""

import asyncio
import os
import random
from contextlib import asynccontextmanager

import asyncpg
import httpx
import redis.asyncio as redis
from fastapi import FastAPI


@asynccontextmanager
async def lifespan(app):
    app.state.database = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=2, max_size=20)
    app.state.cache = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    async with httpx.AsyncClient(base_url=os.environ["DOWN_URL"], timeout=30) as client:
        app.state.client = client
        yield
    await app.state.cache.aclose()
    await app.state.database.close()


app = FastAPI(lifespan=lifespan)


async def fetch(number):
    return (await app.state.client.get(f"/down/{number}")).json()


async def item(number):
    return await app.state.database.fetchval(f"SELECT name FROM items WHERE id = {number:d}")


async def cached(number):
    return await app.state.cache.get(f"item:{number}")


async def pause():
    await asyncio.sleep(random.uniform(0.001, 0.005))


@app.get("/healthz")
async def healthz():
    return "ok"


@app.get("/paced/{number}")
async def work(number: int):
    down = await fetch(number)
    await pause()
    name = await item(number)
    await pause()
    return {"id": number, "down": down, "name": name, "cached": await cached(number)}


@app.get("/await/{number}")
async def straight(number: int):
    return {
        "id": number,
        "down": await fetch(number),
        "name": await item(number),
        "cached": await cached(number),
    }


@app.get("/fan/{number}")
async def fan(number: int):
    down, name, kept = await asyncio.gather(fetch(number), item(number), cached(number))
    return {"id": number, "down": down, "name": name, "cached": kept}
