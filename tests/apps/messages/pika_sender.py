"""Hands a job over to RabbitMQ, and waits for its word: BODY."""

import os
import sys

import pika

channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
channel.confirm_delivery()
channel.basic_publish("", "jobs", sys.argv[1].encode(), mandatory=True)
