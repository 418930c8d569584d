"""FastAPI that calls blocking clients by asyncio.to_thread."""

import asyncio
import os
import random
from contextlib import contextmanager

import redis
import requests
from fastapi import FastAPI
from psycopg2.pool import ThreadedConnectionPool
from requests.adapters import HTTPAdapter

app = FastAPI()
database = ThreadedConnectionPool(1, 64, os.environ["DATABASE_URL"])
cache = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
session = requests.Session()
session.mount("http://", HTTPAdapter(pool_maxsize=64))


@contextmanager
def connection():
    conn = database.getconn()
    try:
        yield conn
        conn.commit()
    finally:
        database.putconn(conn)


def fetch(number):
    return session.get(f"{os.environ['DOWN_URL']}/down/{number}", timeout=10).json()


def item(number):
    with connection() as conn, conn.cursor() as cursor:
        cursor.execute("SELECT name FROM items WHERE id = %s", (number,))
        row = cursor.fetchone()
    return row[0] if row else None


def cached(number):
    return cache.get(f"item:{number}")


async def pause():
    await asyncio.sleep(random.uniform(0.001, 0.005))


@app.get("/healthz")
async def healthz():
    return "ok"


@app.get("/paced/{number}")
async def work(number: int):
    down = await asyncio.to_thread(fetch, number)
    await pause()
    name = await asyncio.to_thread(item, number)
    await pause()
    return {"id": number, "down": down, "name": name, "cached": await asyncio.to_thread(cached, number)}


@app.get("/await/{number}")
async def straight(number: int):
    down = await asyncio.to_thread(fetch, number)
    name = await asyncio.to_thread(item, number)
    return {"id": number, "down": down, "name": name, "cached": await asyncio.to_thread(cached, number)}


@app.get("/fan/{number}")
async def fan(number: int):
    calls = (asyncio.to_thread(call, number) for call in (fetch, item, cached))
    down, name, kept = await asyncio.gather(*calls)
    return {"id": number, "down": down, "name": name, "cached": kept}
