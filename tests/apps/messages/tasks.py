"""A Celery application over RabbitMQ: as a program, it hands one task over."""

import os

from celery import Celery

app = Celery("shop", broker=os.environ["AMQP_URL"])
app.conf.worker_hijack_root_logger = False


@app.task(name="shop.mail")
def mail(address):
    print("mailed", address, flush=True)


if __name__ == "__main__":
    mail.delay("a@example.org")
