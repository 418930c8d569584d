"""Sends two records by librdkafka and receives them: SERVER."""

import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

server = {"bootstrap.servers": sys.argv[1]}
admin = AdminClient(server)
admin.create_topics([NewTopic("orders", 1, 1)])["orders"].result()
producer = Producer({**server, "client.id": "shop"})
for order in ("first", "second"):
    producer.produce("orders", order)
    producer.flush(30)
consumer = Consumer({**server, "client.id": "mailer", "group.id": "mailers", "auto.offset.reset": "earliest"})
consumer.subscribe(["orders"])
left = 2
while left > 0:
    left -= len(consumer.consume(2, timeout=1))
consumer.close()
