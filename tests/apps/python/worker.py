"""Takes jobs off a Redis list, until there is an empty one; each job is a key that is counted up."""

import json
import os

import redis

queue = redis.Redis.from_url(os.environ["REDIS_URL"])
counters = redis.Redis.from_url(os.environ["REDIS_URL"])
counters.set("ready", 1)

while True:
    _, text = queue.brpop(["jobs"])
    job = json.loads(text)
    if not job:
        break
    counters.incr(job["counter"])
    counters.incr("done")
