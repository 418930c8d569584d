"""A service that asks the next one, if there is one, and then Redis. It knows nothing of tracing; it is started with
OpenTelemetry's SDK around it or without."""

import os

import redis
import requests
from flask import Flask

app = Flask(__name__)
onward = os.environ.get("NEXT")
session = requests.Session()
session.trust_env = False
cache = redis.Redis.from_url(os.environ["REDIS_URL"])


@app.get("/healthz")
def healthz():
    return "ok"


@app.get("/hop/<number>")
def hop(number):
    if onward:
        session.get(f"http://{onward}/hop/{number}").raise_for_status()
    cache.get(f"item:{number}")
    return f"hop {number}"
