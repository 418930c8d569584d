"""Takes jobs off a queue of RabbitMQ, one by one, until there is an empty one; each is a key that is counted up."""

import json
import os

import pika
import redis

counters = redis.Redis.from_url(os.environ["REDIS_URL"])
channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
channel.queue_declare("jobs")
channel.basic_qos(prefetch_count=1)


def work(channel, method, _, body):
    job = json.loads(body)
    if job:
        counters.incr(job["counter"])
        counters.incr("done")
    channel.basic_ack(method.delivery_tag)
    if not job:
        channel.stop_consuming()


channel.basic_consume("jobs", work)
counters.set("ready", 1)
channel.start_consuming()
