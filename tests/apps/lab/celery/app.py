"""Flask that enqueues Celery tasks."""

from flask import Flask, jsonify

import tasks

app = Flask(__name__)


@app.get("/healthz")
def healthz():
    return "ok"


@app.get("/paced/<int:number>")
def work(number):
    return jsonify(id=number, task=tasks.work.delay(number).id)


@app.get("/await/<int:number>")
def straight(number):
    return jsonify(id=number, task=tasks.straight.delay(number).id)
