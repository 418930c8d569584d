"""Google Pub/Sub in Python, over gRPC's C core, without any instrumentation.

Usage: client.py publish|receive|pull PORT COUNT, or client.py golden PORT"""

import os
import sys
import threading

ROLE, PORT, *COUNT = sys.argv[1:]
os.environ["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{PORT}"

from google.api_core.exceptions import AlreadyExists, NotFound
from google.cloud import pubsub_v1

WITHIN = 60
TOPIC = "projects/golden/topics/orders"
SUBSCRIPTION = "projects/golden/subscriptions/packing"


def create(publisher, subscriber):
    """Makes the topic and its subscription, unless another client has."""
    for make in (
        lambda: publisher.create_topic(name=TOPIC),
        lambda: subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC),
    ):
        try:
            make()
        except AlreadyExists:
            pass


def publish(publisher, count):
    for item in range(count):
        publisher.publish(TOPIC, b"order %d" % item).result(WITHIN)


def receive(subscriber, count):
    """Receives so many messages as they come."""
    left = threading.Semaphore(0)

    def take(message):
        message.ack()
        print(message.message_id, flush=True)
        left.release()

    future = subscriber.subscribe(SUBSCRIPTION, take)
    print("ready", flush=True)
    for _ in range(count):
        assert left.acquire(timeout=WITHIN)
    future.cancel()
    future.result(WITHIN)


def pull(subscriber, count):
    """Asks for messages until so many have come."""
    print("ready", flush=True)
    while count > 0:
        answer = subscriber.pull(subscription=SUBSCRIPTION, max_messages=10)
        ids = [received.ack_id for received in answer.received_messages]
        if ids:
            subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=ids)
        count -= len(ids)


def golden(publisher, subscriber):
    publisher.publish(
        TOPIC,
        b"one order",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ).result(WITHIN)
    pull(subscriber, 1)
    for future in [publisher.publish(TOPIC, b"a part of a batch") for _ in range(5)]:
        future.result(WITHIN)
    receive(subscriber, 5)
    try:
        publisher.publish("projects/golden/topics/missing", b"to nobody").result(WITHIN)
    except NotFound:
        return
    raise SystemExit("published to a topic that does not exist")


with pubsub_v1.SubscriberClient() as subscriber:
    publisher = pubsub_v1.PublisherClient()
    create(publisher, subscriber)
    match ROLE:
        case "publish":
            publish(publisher, int(COUNT[0]))
        case "receive":
            receive(subscriber, int(COUNT[0]))
        case "pull":
            pull(subscriber, int(COUNT[0]))
        case "golden":
            golden(publisher, subscriber)
    publisher.stop()
