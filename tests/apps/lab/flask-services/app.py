"""Flask with grpcio, PyMySQL, PyMongo and confluent-kafka. Neighbours come from the environment."""

import os
import queue
import random
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import grpc
import pymysql
from confluent_kafka import Producer
from flask import Flask, jsonify
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pymongo import MongoClient

app = Flask(__name__)
down = health_pb2_grpc.HealthStub(grpc.insecure_channel(os.environ["GRPC_ADDRESS"]))
notes = MongoClient(os.environ["MONGODB_URL"]).lab.notes
events = Producer({"bootstrap.servers": os.environ["KAFKA_ADDRESS"], "linger.ms": 0, "acks": 1})
database = urlsplit(os.environ["MYSQL_URL"])
idle = queue.LifoQueue()


@contextmanager
def connection():
    try:
        conn = idle.get_nowait()
    except queue.Empty:
        conn = pymysql.connect(
            host=database.hostname,
            port=database.port,
            user=database.username,
            password=database.password,
            database=database.path[1:],
        )
    yield conn
    idle.put(conn)


def ask(number):
    response = down.Check(
        health_pb2.HealthCheckRequest(service=str(number)), metadata=[("x-item", str(number))], timeout=10
    )
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


def item(number):
    with connection() as conn, conn.cursor() as cursor:
        cursor.execute("SELECT name FROM items WHERE id = %s", (number,))
        row = cursor.fetchone()
        conn.commit()
    return row[0] if row else None


def note(number):
    found = notes.find_one({"item": number})
    return found["text"] if found else None


def tell(number):
    events.produce("items", key=str(number), value=b'{"seen":true}')
    events.poll(0)


def pause():
    time.sleep(random.uniform(0.001, 0.005))


@app.get("/healthz")
def healthz():
    return "ok"


@app.get("/paced/<int:number>")
def work(number):
    answer = {"id": number, "down": ask(number)}
    pause()
    answer["name"] = item(number)
    pause()
    answer["note"] = note(number)
    pause()
    tell(number)
    return jsonify(answer)


@app.get("/await/<int:number>")
def straight(number):
    answer = {"id": number, "down": ask(number), "name": item(number), "note": note(number)}
    tell(number)
    return jsonify(answer)
