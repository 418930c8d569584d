"""Asks items_grpc.py by the method in each line that is read, on one connection, and prints what comes first.

Usage: items_asked.py ADDRESS"""

import sys

import grpc
from google.protobuf.wrappers_pb2 import StringValue

coding = {"request_serializer": StringValue.SerializeToString, "response_deserializer": StringValue.FromString}
with grpc.insecure_channel(sys.argv[1]) as channel:
    for line in sys.stdin:
        answers = channel.unary_stream(f"/shop.Items/{line.strip()}", **coding)
        print([answer.value for answer in answers(StringValue(value="1"))][0], flush=True)
