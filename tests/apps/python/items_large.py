"""Asks items_grpc.py for what is long, and then for what is short, all on one connection.

Usage: items_large.py ADDRESS"""

import sys

import grpc
from google.protobuf.wrappers_pb2 import StringValue

SHORT_CALLS = 20
LONG_BYTES = 5_000_000

channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.max_receive_message_length", -1)])
coding = {"request_serializer": StringValue.SerializeToString, "response_deserializer": StringValue.FromString}
get = channel.unary_unary("/shop.Items/Get", **coding)
pages = channel.unary_stream("/shop.Items/Pages", **coding)


def short_calls():
    for number in range(SHORT_CALLS):
        get(StringValue(value=str(number)))
    try:
        get(StringValue(value="missing"))
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.NOT_FOUND


get(StringValue(value="first"))
get(StringValue(value="x" * LONG_BYTES))
short_calls()
sum(1 for _ in pages(StringValue(value="x")))
short_calls()
