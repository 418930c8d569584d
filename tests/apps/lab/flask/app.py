"""Flask with psycopg2, redis-py and requests, each with a pool. Neighbours come from the environment."""

import os
import random
import time
from contextlib import contextmanager

import redis
import requests
from flask import Flask, jsonify
from psycopg2.pool import ThreadedConnectionPool
from requests.adapters import HTTPAdapter

app = Flask(__name__)
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
    down = fetch(number)
    pause()
    name = item(number)
    pause()
    return jsonify(id=number, down=down, name=name, cached=cached(number))


@app.get("/await/<int:number>")
def straight(number):
    return jsonify(id=number, down=fetch(number), name=item(number), cached=cached(number))
