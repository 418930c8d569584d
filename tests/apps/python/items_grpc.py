"""A gRPC service and its client without any instrumentation, and without generated code: all messages are
google.protobuf.StringValue.

Usage: items_grpc.py serve ADDRESS | ask ADDRESS COUNT"""

import sys
from concurrent import futures

import grpc
from google.protobuf.wrappers_pb2 import StringValue

ROLE, ADDRESS = sys.argv[1:3]


def get(asked, context):
    if asked.value == "missing":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such item")
    return StringValue(value=f"item {asked.value}")


def items(_asked, _context):
    for item in range(3):
        yield StringValue(value=f"item {item}")


def fill(messages, _context):
    return StringValue(value=str(sum(1 for _ in messages)))


def serve():
    coding = {"request_deserializer": StringValue.FromString, "response_serializer": StringValue.SerializeToString}
    handlers = {
        "Get": grpc.unary_unary_rpc_method_handler(get, **coding),
        "List": grpc.unary_stream_rpc_method_handler(items, **coding),
        "Fill": grpc.stream_unary_rpc_method_handler(fill, **coding),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Items", handlers)])
    server.add_insecure_port(ADDRESS)
    server.start()
    server.wait_for_termination()


def ask(count):
    coding = {"request_serializer": StringValue.SerializeToString, "response_deserializer": StringValue.FromString}
    with grpc.insecure_channel(ADDRESS, [("grpc.enable_http_proxy", 0)]) as channel:
        get = channel.unary_unary("/shop.Items/Get", **coding)
        numbers = [str(100_001 + number) for number in range(count)]
        calls = [get.future(StringValue(value=number), metadata=[("x-number", number)]) for number in numbers]
        for call in calls:
            call.result()


if ROLE == "serve":
    serve()
else:
    ask(int(sys.argv[3]))
