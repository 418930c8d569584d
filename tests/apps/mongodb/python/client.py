"""Writes, reads and fails by pymongo; the argument is the port."""

import sys

import pymongo

with pymongo.MongoClient("127.0.0.1", int(sys.argv[1]), maxPoolSize=1) as client:
    orders = client["shop"]["orders"]
    orders.insert_many([{"_id": 1, "item": "a secret"}, {"_id": 2, "item": "pear"}])
    assert len(list(orders.find({"_id": {"$lt": 10}}))) == 2
    try:
        orders.insert_one({"_id": 1})
    except pymongo.errors.DuplicateKeyError:
        pass
    # Longer than what is captured of a call.
    orders.insert_one({"_id": 3, "note": "x" * 100_000})
    assert len(orders.find_one({"_id": 3})["note"]) == 100_000
    orders.drop()
