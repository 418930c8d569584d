"""Keeps a connection to a server, and asks by it for each line that it reads: mysql|mongodb|redis|kafka|amqp PORT."""

import signal
import sys

# Rather an end than a wait for what does not come.
signal.alarm(120)
KIND, PORT = sys.argv[1], int(sys.argv[2])


def mysql():
    import mysql.connector

    connection = mysql.connector.connect(
        host="127.0.0.1", port=PORT, user="native", password="shop", database="shop", ssl_disabled=True, use_pure=True
    )
    # Cursors do not keep their connection.
    prepared, plain = connection.cursor(prepared=True), connection.cursor()

    def ask(_connection=connection):
        prepared.execute("SELECT note FROM orders WHERE id = %s", (7,))
        prepared.fetchall()
        plain.execute("SELECT id FROM orders WHERE note = 'a secret'")
        plain.fetchall()

    return ask


def mongodb():
    import pymongo

    orders = pymongo.MongoClient("127.0.0.1", PORT, maxPoolSize=1)["shop"]["orders"]
    return lambda: orders.find_one({"_id": 7})


def redis():
    import redis

    client = redis.Redis(port=PORT, single_connection_client=True)
    return lambda: client.get("order:7")


def kafka():
    from confluent_kafka import Consumer, Producer

    server = {"bootstrap.servers": f"127.0.0.1:{PORT}", "broker.address.family": "v4"}
    # Metadata would tell the name of the topic.
    server["topic.metadata.refresh.interval.ms"] = -1
    producer = Producer({**server, "client.id": "shop"})
    consumer = Consumer({**server, "client.id": "mailer", "group.id": "mailers", "auto.offset.reset": "earliest"})
    consumer.subscribe(["orders"])

    def ask():
        producer.produce("orders", b"an order")
        producer.flush(30)
        while not consumer.consume(1, timeout=1):
            pass

    return ask


def amqp():
    import pika

    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", PORT))
    channel = connection.channel()
    channel.queue_declare("orders")

    def ask():
        channel.basic_publish("", "orders", b'{"order": 7, "customer": "somebody"}')
        while channel.basic_get("orders", auto_ack=True)[0] is None:
            pass

    return ask


ask = {"mysql": mysql, "mongodb": mongodb, "redis": redis, "kafka": kafka, "amqp": amqp}[KIND]()
for _ in sys.stdin:
    ask()
    print("asked", flush=True)
