"""A Flask service without any instrumentation. Its neighbours come from the environment."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import redis
import requests
from flask import Flask, abort, jsonify, request

app = Flask(__name__)
local = threading.local()
pool = ThreadPoolExecutor(max_workers=8)


def database():
    """Returns this thread's connection, opened once."""
    if not hasattr(local, "database"):
        local.database = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    return local.database


def cache():
    """Returns this thread's Redis client with one connection."""
    if not hasattr(local, "cache"):
        local.cache = redis.Redis.from_url(os.environ["REDIS_URL"], single_connection_client=True)
    return local.cache


def session():
    """Returns this thread's HTTP session."""
    if not hasattr(local, "session"):
        local.session = requests.Session()
    return local.session


@app.get("/healthz")
def healthz():
    return "ok"


@app.get("/users/<int:number>")
def user(number):
    return jsonify(id=number, query=request.args.to_dict())


@app.get("/warm")
def warm():
    """Opens every connection of this thread, so that a test sees exchanges and no handshakes."""
    if "DATABASE_URL" in os.environ:
        database().execute("SELECT 1")
    if "REDIS_URL" in os.environ:
        cache().ping()
    if "ITEMS_URL" in os.environ:
        session().get(os.environ["ITEMS_URL"] + "/healthz", timeout=10)
    return "warm"


@app.get("/orders/<int:number>")
def order(number):
    """Asks cache, database and the items service, each about this number only."""
    headers = {"X-Test-Id": request.headers.get("X-Test-Id", "")}
    # As many keys as tell it from its neighbours where keys are not shown.
    cached = cache().mget([f"order:{number}"] * (number % 7 + 1))[0]
    # The column's name carries the number into the statement's text, where literals would be removed.
    row = database().execute(f"SELECT note AS id_{number} FROM orders WHERE id = %s", (number,)).fetchone()
    item = session().get(f"{os.environ['ITEMS_URL']}/items/{number}", headers=headers, timeout=10)
    return jsonify(
        id=number,
        cached=cached.decode() if cached else None,
        note=row[0] if row else None,
        item=item.json(),
    )


@app.get("/rows/<int:number>")
def rows(number):
    row = database().execute("SELECT note FROM orders WHERE id = %s", (number,)).fetchone()
    return jsonify(note=row[0] if row else None)


@app.get("/bad-statement")
def bad_statement():
    try:
        database().execute("SELECT nothing FROM missing_table")
    except psycopg.Error as error:
        return jsonify(sqlstate=error.sqlstate), 500
    return "no error", 200


@app.get("/cached/<key>")
def cached(key):
    cache().set(f"greeting:{key}", "hello", ex=60)
    return cache().get(f"greeting:{key}")


@app.get("/many/<int:number>")
def many(number):
    """Asks for as many keys as tell this number from its neighbours."""
    cache().mget([f"greeting:{number}"] * (number % 13 + 1))
    return f"many {number}"


@app.get("/pooled/<int:number>")
def pooled(number):
    """Asks in a thread of a pool that all requests share."""
    return pool.submit(many, number).result()


@app.get("/threaded/<int:number>")
def threaded(number):
    """Asks in a thread of its own."""
    thread = threading.Thread(target=many, args=(number,))
    thread.start()
    thread.join()
    return f"many {number}"


@app.get("/relay/<int:number>")
def relay(number):
    answer = session().get(f"{os.environ['ITEMS_URL']}/items/{number}", timeout=10)
    return answer.text, answer.status_code


@app.post("/echo")
def echo():
    return request.get_data(), 200, {"Content-Type": "application/octet-stream"}


@app.get("/missing")
def missing():
    abort(404)


@app.get("/broken")
def broken():
    raise RuntimeError("this endpoint always fails")
