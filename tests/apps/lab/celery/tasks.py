"""Celery tasks: what the request asks for is done by a worker."""

import os
import random
import time
from contextlib import contextmanager

import redis
import requests
from celery import Celery
from psycopg2.pool import ThreadedConnectionPool

celery = Celery("tasks", broker=os.environ["QUEUE_URL"])
celery.conf.task_ignore_result = True
celery.conf.broker_connection_retry_on_startup = True
cache = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
session = requests.Session()
pool = None


@contextmanager
def connection():
    # After the fork: each worker process has a pool of its own.
    global pool
    pool = pool or ThreadedConnectionPool(1, 4, os.environ["DATABASE_URL"])
    conn = pool.getconn()
    try:
        yield conn
        conn.commit()
    finally:
        pool.putconn(conn)


def pause():
    time.sleep(random.uniform(0.001, 0.005))


def calls(number, between):
    session.get(f"{os.environ['DOWN_URL']}/down/{number}", timeout=10).json()
    between()
    with connection() as conn, conn.cursor() as cursor:
        cursor.execute("SELECT name FROM items WHERE id = %s", (number,))
        cursor.fetchone()
    between()
    cache.get(f"item:{number}")


@celery.task
def work(number):
    calls(number, pause)


@celery.task
def straight(number):
    calls(number, lambda: None)
