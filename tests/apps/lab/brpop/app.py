"""Flask that puts jobs on a Redis list."""

import json
import os
import uuid

import redis
from flask import Flask, jsonify

app = Flask(__name__)
queue = redis.Redis.from_url(os.environ["QUEUE_URL"])


@app.get("/healthz")
def healthz():
    return "ok"


@app.get("/<mode>/<int:number>")
def work(mode, number):
    job = {"id": str(uuid.uuid4()), "mode": mode, "number": number}
    queue.lpush("jobs", json.dumps(job))
    return jsonify(id=number, job=job["id"])
