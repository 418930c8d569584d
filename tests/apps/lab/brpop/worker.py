"""Threads that wait for jobs on a Redis list and make the calls that a request asked for."""

import json
import os
import random
import threading
import time

import psycopg2
import redis
import requests

cache = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


def pause():
    time.sleep(random.uniform(0.001, 0.005))


def calls(number, between, session, connection):
    session.get(f"{os.environ['DOWN_URL']}/down/{number}", timeout=10).json()
    between()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM items WHERE id = %s", (number,))
        cursor.fetchone()
    between()
    cache.get(f"item:{number}")


def serve():
    queue = redis.Redis.from_url(os.environ["QUEUE_URL"])
    session = requests.Session()
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    while True:
        _, text = queue.brpop(["jobs"])
        job = json.loads(text)
        calls(job["number"], pause if job["mode"] == "paced" else lambda: None, session, connection)


for _ in range(4):
    threading.Thread(target=serve).start()
