"""Sends a record by librdkafka with each compression, under a trace of its own, and receives them: SERVER."""

import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

server = {"bootstrap.servers": sys.argv[1]}
admin = AdminClient(server)
admin.create_topics([NewTopic("packed", 1, 1)])["packed"].result()
codecs = ["gzip", "snappy", "lz4", "zstd"]
for number, codec in enumerate(codecs, 1):
    producer = Producer({**server, "client.id": "shop", "compression.type": codec})
    context = f"00-{str(number) * 32}-{str(number) * 16}-01"
    producer.produce("packed", "to be packed " * 40, headers={"traceparent": context})
    producer.flush(30)
consumer = Consumer({**server, "client.id": "mailer", "group.id": "mailers", "auto.offset.reset": "earliest"})
consumer.subscribe(["packed"])
left = len(codecs)
while left > 0:
    left -= len(consumer.consume(left, timeout=1))
consumer.close()
