"""Sends a record by kafka-python and receives it: SERVER."""

import sys

from kafka import KafkaConsumer, KafkaProducer

producer = KafkaProducer(bootstrap_servers=sys.argv[1], client_id="shop")
producer.send("plain", b"an order").get(30)
producer.close()
consumer = KafkaConsumer("plain", bootstrap_servers=sys.argv[1], client_id="mailer", auto_offset_reset="earliest")
while not consumer.poll(1000):
    pass
consumer.close()
