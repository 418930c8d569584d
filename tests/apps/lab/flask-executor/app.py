"""Flask whose calls run in a ThreadPoolExecutor that all requests share."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import redis
import requests
from flask import Flask, jsonify
from psycopg2.pool import ThreadedConnectionPool
from requests.adapters import HTTPAdapter

app = Flask(__name__)
executor = ThreadPoolExecutor(max_workers=16)
database = ThreadedConnectionPool(1, 32, os.environ["DATABASE_URL"])
cache = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
session = requests.Session()
session.mount("http://", HTTPAdapter(pool_maxsize=32))
session.mount("https://", HTTPAdapter(pool_maxsize=32))


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


def pause():
    time.sleep(random.uniform(0.001, 0.005))


@app.get("/healthz")
def healthz():
    return "ok"


@app.get("/paced/<int:number>")
def work(number):
    down = executor.submit(fetch, number).result()
    pause()
    name = executor.submit(item, number).result()
    pause()
    return jsonify(id=number, down=down, name=name, cached=executor.submit(cached, number).result())


@app.get("/await/<int:number>")
def straight(number):
    down = executor.submit(fetch, number).result()
    name = executor.submit(item, number).result()
    return jsonify(id=number, down=down, name=name, cached=executor.submit(cached, number).result())


@app.get("/fan/<int:number>")
def fan(number):
    futures = [executor.submit(call, number) for call in (fetch, item, cached)]
    down, name, kept = (future.result() for future in futures)
    return jsonify(id=number, down=down, name=name, cached=kept)


@app.get("/crossed/<int:number>")
def crossed(number):
    """Works on what another request asks for at the same time."""
    other = number ^ 1
    pause()
    down = executor.submit(fetch, other).result()
    pause()
    name = executor.submit(item, other).result()
    return jsonify(id=number, down=down, name=name, cached=executor.submit(cached, other).result())
