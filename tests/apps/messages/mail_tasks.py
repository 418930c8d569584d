"""The Celery application that mails."""

import os

import redis
from celery import Celery

app = Celery("mail", broker=os.environ["BROKER_URL"])
app.conf.worker_hijack_root_logger = False
app.conf.task_ignore_result = True
counts = redis.Redis.from_url(os.environ["REDIS_URL"])


@app.task(name="shop.mail")
def mail(_address):
    counts.incr("mailed")
