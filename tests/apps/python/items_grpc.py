"""A gRPC service without any instrumentation, and without generated code: all messages are
google.protobuf.StringValue.

Usage: items_grpc.py ADDRESS"""

import sys
from concurrent import futures

import grpc
from google.protobuf.wrappers_pb2 import StringValue

ADDRESS = sys.argv[1]


def get(asked, context):
    if asked.value == "missing":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such item")
    return StringValue(value=f"item {asked.value}")


def items(_asked, _context):
    for item in range(3):
        yield StringValue(value=f"item {item}")


def pages(asked, _context):
    for page in range(100):
        yield StringValue(value=asked.value * (page % 3 * 30_000))


def fill(messages, _context):
    return StringValue(value=str(sum(1 for _ in messages)))


def serve():
    coding = {"request_deserializer": StringValue.FromString, "response_serializer": StringValue.SerializeToString}
    handlers = {
        "Get": grpc.unary_unary_rpc_method_handler(get, **coding),
        "List": grpc.unary_stream_rpc_method_handler(items, **coding),
        "Pages": grpc.unary_stream_rpc_method_handler(pages, **coding),
        "Fill": grpc.stream_unary_rpc_method_handler(fill, **coding),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Items", handlers)])
    server.add_insecure_port(ADDRESS)
    server.start()
    server.wait_for_termination()


serve()
