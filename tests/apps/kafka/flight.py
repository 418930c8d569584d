"""Has many requests under way at once, some that nobody answers, and one that the broker refuses: SERVER."""

import signal
import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

# Rather an end than a wait for what does not come.
signal.alarm(120)
MANY, CARELESS = 100, 10
server = {"bootstrap.servers": sys.argv[1]}
admin = AdminClient(server)
topics = [NewTopic("flight", 1, 1), NewTopic("careless", 1, 1), NewTopic("short", 1, 1, config={"max.message.bytes": "200"})]
for topic in admin.create_topics(topics).values():
    topic.result()


def send(topic, values, **settings):
    failed = []
    producer = Producer({**server, "client.id": "shop", "linger.ms": 0, "batch.num.messages": 1, **settings})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: error and failed.append(error.name()))
    producer.flush(30)
    return failed


# Each record is a request of its own, and goes without waiting for the answer to the one before.
assert send("flight", [f"record {number}" for number in range(MANY)]) == []
assert send("careless", [f"record {number}" for number in range(CARELESS)], acks=0) == []
refused = send("short", ["x" * 1000])
assert refused == ["MSG_SIZE_TOO_LARGE"], refused

for topic, left in (("flight", MANY), ("careless", CARELESS)):
    consumer = Consumer({**server, "client.id": "mailer", "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    while left > 0:
        left -= len(consumer.consume(left, timeout=1))
    consumer.close()
