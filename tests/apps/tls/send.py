"""Sends COUNT records to the topic `users`: send.py SERVER AUTHORITY FIRST COUNT IN_FLIGHT BEGIN

Until the file BEGIN exists, one is sent to the topic `warm` again and again, each time by a new connection.
"""

import os
import sys
import threading
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

settings = {"bootstrap.servers": sys.argv[1], "security.protocol": "SSL", "ssl.ca.location": sys.argv[2]}
first, count, in_flight = (int(number) for number in sys.argv[3:6])
numbers = iter(range(first, first + count))
lock = threading.Lock()


def send(producer, topic, text):
    producer.produce(topic, text)
    if producer.flush(30):
        os._exit(1)


def take():
    with lock:
        return next(numbers, None)


def work():
    producer = Producer(settings)
    while (number := take()) is not None:
        send(producer, "users", f"user_{number}")


admin = AdminClient(settings)
for made in admin.create_topics([NewTopic(name, 1, 1) for name in ("users", "warm")]).values():
    made.result()
while not os.path.exists(sys.argv[6]):
    send(Producer(settings), "warm", "warm")
    time.sleep(0.05)
threads = [threading.Thread(target=work) for _ in range(in_flight)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
