"""A cluster by redis-py, while a slot moves from one node to another: PORT of any node."""

import sys

import redis

KEY = "moving"
client = redis.RedisCluster(host="127.0.0.1", port=int(sys.argv[1]), decode_responses=True)
slot = client.keyslot(KEY)
owner = client.nodes_manager.get_node_from_slot(slot)
other = next(node for node in client.get_primaries() if node != owner)
old, new = (redis.Redis(port=node.port, decode_responses=True) for node in (owner, other))


def own(node, word, whose):
    node.cluster("SETSLOT", slot, word, whose.cluster("MYID"))


for number in range(3):
    client.set(f"item:{number}", number)
own(new, "IMPORTING", old)
own(old, "MIGRATING", new)
client.set(KEY, "asked")
own(new, "NODE", new)
own(old, "NODE", new)
client.append(KEY, "moved")
with client.pipeline() as pipe:
    for number in range(3):
        pipe.incr(f"item:{number}")
    pipe.execute()
