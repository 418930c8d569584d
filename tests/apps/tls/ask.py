"""Asks COUNT users, from FIRST on, as many at once as IN_FLIGHT: ask.py WAY SERVER AUTHORITY FIRST COUNT IN_FLIGHT BEGIN

WAY is a library. Until the file BEGIN exists, user 0 is asked again and again, each time by a new connection.
"""

import asyncio
import os
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

way, server, authority = sys.argv[1:4]
first, count, in_flight = (int(number) for number in sys.argv[4:7])
begin = sys.argv[7]
numbers = iter(range(first, first + count))
lock = threading.Lock()


def take():
    with lock:
        return next(numbers, None)


def check(status):
    if status != 200:
        raise RuntimeError(f"status {status}")


# Each of these opens something that asks, and can be closed.


def by_requests():
    import requests

    session = requests.Session()
    session.verify, session.trust_env = authority, False
    return lambda url: check(session.get(url).status_code), session.close


def by_httpx():
    import httpx

    client = httpx.Client(verify=ssl.create_default_context(cafile=authority))
    return lambda url: check(client.get(url).status_code), client.close


def by_pyopenssl():
    import urllib3
    import urllib3.contrib.pyopenssl

    urllib3.contrib.pyopenssl.inject_into_urllib3()
    pool = urllib3.PoolManager(ca_certs=authority)
    return lambda url: check(pool.request("GET", url).status), pool.clear


def by_pycurl():
    import pycurl

    curl = pycurl.Curl()
    curl.setopt(pycurl.CAINFO, authority)
    curl.setopt(pycurl.WRITEFUNCTION, lambda _: None)

    def ask(url):
        curl.setopt(pycurl.URL, url)
        curl.perform()
        check(curl.getinfo(pycurl.RESPONSE_CODE))

    return ask, curl.close


def by_curl_cffi():
    from curl_cffi import requests

    session = requests.Session(verify=authority, http_version="v1")
    return lambda url: check(session.get(url).status_code), session.close


def by_psycopg2():
    import psycopg2

    connection = psycopg2.connect(server)
    connection.autocommit = True
    cursor = connection.cursor()
    return lambda number: cursor.execute(f"SELECT 1 AS user_{number}"), connection.close


def by_psycopg():
    import psycopg

    connection = psycopg.connect(server, autocommit=True)
    return lambda number: connection.execute(f"SELECT 1 AS user_{number}").fetchone(), connection.close


def by_pymysql():
    import pymysql

    return by_mysql(pymysql.connect)


def by_mysql_connector():
    import mysql.connector

    return by_mysql(mysql.connector.connect, use_pure=False)


def by_mysql(connect, **options):
    port = urlsplit(server).port
    account = {"user": "native", "password": "shop", "database": "shop"}
    connection = connect(host="127.0.0.1", port=port, ssl_ca=authority, **account, **options)

    def ask(number):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 AS user_{number}")
            cursor.fetchall()

    return ask, connection.close


def by_pymongo():
    import pymongo

    client = pymongo.MongoClient(server, tlsCAFile=authority)
    return lambda number: client.shop[f"user_{number}"].find_one(), client.close


def by_pika():
    import pika

    context = ssl.create_default_context(cafile=authority)
    address = urlsplit(server)
    parameters = pika.ConnectionParameters(
        "localhost", address.port, ssl_options=pika.SSLOptions(context, "localhost")
    )
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()
    return lambda number: channel.basic_publish("", f"user_{number}", b"nobody reads this"), connection.close


def by_redis():
    import redis

    client = redis.Redis("localhost", urlsplit(server).port, ssl=True, ssl_ca_certs=authority)
    return lambda number: client.publish(f"user_{number}", "nobody reads this"), client.close


THREADED = {
    "requests": by_requests,
    "httpx": by_httpx,
    "pyopenssl": by_pyopenssl,
    "pycurl": by_pycurl,
    "curl_cffi": by_curl_cffi,
    "psycopg": by_psycopg,
    "psycopg2": by_psycopg2,
    "pymysql": by_pymysql,
    "mysql-connector": by_mysql_connector,
    "pymongo": by_pymongo,
    "pika": by_pika,
    "redis": by_redis,
}


def target(number):
    return f"{server}/users/{number}" if server.startswith("https") else number


def work(open_one):
    ask, close = open_one()
    while (number := take()) is not None:
        ask(target(number))
    close()


def warm(open_one):
    ask, close = open_one()
    ask(target(0))
    close()


async def by_httpx_async():
    import httpx

    context = ssl.create_default_context(cafile=authority)
    client = httpx.AsyncClient(verify=context, limits=httpx.Limits(max_connections=in_flight))

    async def ask(url):
        check((await client.get(url)).status_code)

    return ask, client.aclose


async def by_aiohttp():
    import aiohttp

    context = ssl.create_default_context(cafile=authority)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=in_flight))

    async def ask(url):
        async with session.get(url) as response:
            check(response.status)
            await response.read()

    return ask, session.close


async def by_asyncpg():
    import asyncpg

    pool = await asyncpg.create_pool(server, min_size=1, max_size=in_flight)
    return lambda number: pool.execute(f"SELECT 1 AS user_{number}"), pool.close


async def by_nats():
    import nats

    context = ssl.create_default_context(cafile=authority)
    connection = await nats.connect(server, tls=context)
    stream = connection.jetstream()
    await stream.add_stream(name="shop", subjects=["shop.*"], storage="memory")
    return lambda number: stream.publish(f"shop.user_{number}", b"nobody reads this"), connection.close


ASYNC = {
    "httpx-async": by_httpx_async,
    "aiohttp": by_aiohttp,
    "uvloop": by_aiohttp,
    "asyncpg": by_asyncpg,
    "nats": by_nats,
}


async def main(open_one):
    while not os.path.exists(begin):
        ask, close = await open_one()
        await ask(target(0))
        await close()
        await asyncio.sleep(0.05)
    ask, close = await open_one()

    async def work():
        while (number := take()) is not None:
            await ask(target(number))

    await asyncio.gather(*(work() for _ in range(in_flight)))
    await close()


def main_threaded(open_one):
    while not os.path.exists(begin):
        warm(open_one)
        time.sleep(0.05)
    failures = []

    def guarded():
        try:
            work(open_one)
        except Exception as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=guarded) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(len(failures))


if way in THREADED:
    main_threaded(THREADED[way])
elif way == "uvloop":
    import uvloop

    uvloop.run(main(ASYNC[way]))
else:
    asyncio.run(main(ASYNC[way]))
