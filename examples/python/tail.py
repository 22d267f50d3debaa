#!/usr/bin/env python3
"""Plays the run of a backup and tails its log, live, until it has finished.

    pip install grpcio protobuf          (Debian: apt-get install python3-grpcio python3-protobuf)
    python3 examples/python/tail.py 127.0.0.1:50051

No code is generated from .proto files: the service describes itself by gRPC server reflection. `Service` is all that takes, and
works for any service; `backup` and `tail` show how this one is used.
"""

import sys
import threading
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format


def main(address):
    with grpc.insecure_channel(address) as channel:
        controllers = Service(channel, "backup.v1.ControllerService")
        logs = Service(channel, "backup.v1.LogService")

        controller = controllers.CreateController(
            operation="OPERATION_BACKUP", type="TYPE_COURSE", item_id=7, purpose="PURPOSE_GENERAL", user_id=2
        ).controller
        print(f"backup {controller.backup_id}")

        threading.Thread(target=backup, args=(controllers, logs, controller.backup_id), daemon=True).start()
        for event in tail(logs, controller.backup_id):
            show(event)


def backup(controllers, logs, backup_id):
    """Takes the controller through the life cycle of a backup and writes a line at every step."""
    status = "STATUS_CREATED"
    for following, line in [
        ("STATUS_PLANNED", "the plan has 3 tasks"),
        ("STATUS_CONFIGURED", "the settings have their defaults"),
        ("STATUS_AWAITING", "ready to run"),
        ("STATUS_EXECUTING", "writing the archive"),
        ("STATUS_FINISHED_OK", "the archive is written"),
    ]:
        logs.AppendLogs(backup_id=backup_id, entries=[{"level": "LOG_LEVEL_INFO", "message": line}])
        # `from` is a keyword of Python.
        controllers.TransitionController(backup_id=backup_id, to=following, **{"from": status})
        status = following


def tail(logs, backup_id):
    """Every event of a log until it is complete, each entry once: a stream that breaks is continued where it was."""
    start = {}
    while True:
        try:
            for event in logs.TailLogs(backup_ids=[backup_id], until_finished=True, **start):
                yield event
                said = getattr(event, event.WhichOneof("event"))
                if getattr(said, "resume_token", ""):
                    start = {"resume_token": said.resume_token}
                if event.HasField("end") and name(said, "reason") in ("REASON_SEALED", "REASON_DELETED"):
                    return
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            time.sleep(1)


def show(event):
    kind = event.WhichOneof("event")
    if kind == "entries":
        for entry in event.entries.entries:
            print(f"{entry.id:>3} {name(entry, 'level')} {entry.message}", flush=True)
    elif kind == "state":
        print(f"    {name(event.state, 'status')}", flush=True)
    elif kind == "end":
        print(f"    {name(event.end, 'reason')}", flush=True)


def name(message, field):
    """The name of the value of an enum field."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    number = getattr(message, field)
    return values[number].name if number in values else str(number)


class Service:
    """A gRPC service as it describes itself: one Python method for each of its own, with the fields of the request as arguments."""

    def __init__(self, channel, service_name):
        service = describe(channel, service_name).FindServiceByName(service_name)
        for method in service.methods:
            setattr(self, method.name, caller(channel, method))


def caller(channel, method):
    described = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(described)
    connect = channel.unary_stream if described.server_streaming else channel.unary_unary
    request_class = message_class(method.input_type)
    call = connect(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=request_class.SerializeToString,
        response_deserializer=message_class(method.output_type).FromString,
    )
    return lambda **fields: call(request_class(**fields))


def message_class(descriptor):
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory().GetPrototype(descriptor)  # protobuf before 4.22


def describe(channel, symbol):
    """Asks the server for the file that declares `symbol` and all that it imports."""
    request_class, response_class = reflection_messages()
    reflect = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )
    response = next(iter(reflect(iter([request_class(file_containing_symbol=symbol)]))))
    if response.HasField("error_response"):
        raise LookupError(response.error_response.error_message)
    files = response.file_descriptor_response.file_descriptor_proto
    return pool_of([descriptor_pb2.FileDescriptorProto.FromString(file) for file in files])


def pool_of(files):
    """A pool takes a file only after those that it imports."""
    pool = descriptor_pool.DescriptorPool()
    left = {file.name: file for file in files}

    def add(file_name):
        file = left.pop(file_name, None)
        if file:
            for imported in file.dependency:
                add(imported)
            pool.AddSerializedFile(file.SerializeToString())

    for file in files:
        add(file.name)
    return pool


def reflection_messages():
    pool = pool_of([text_format.Parse(REFLECTION, descriptor_pb2.FileDescriptorProto())])
    names = ("ServerReflectionRequest", "ServerReflectionResponse")
    return [message_class(pool.FindMessageTypeByName(f"grpc.reflection.v1.{name}")) for name in names]


# The part of grpc/reflection/v1/reflection.proto that is used here; the package grpcio-reflection has all of it.
REFLECTION = """
    name: "reflection.proto"
    package: "grpc.reflection.v1"
    syntax: "proto3"
    message_type {
        name: "ServerReflectionRequest"
        field { name: "file_containing_symbol" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL }
    }
    message_type {
        name: "ServerReflectionResponse"
        field {
            name: "file_descriptor_response" number: 4 type: TYPE_MESSAGE label: LABEL_OPTIONAL
            type_name: ".grpc.reflection.v1.FileDescriptorResponse"
        }
        field {
            name: "error_response" number: 7 type: TYPE_MESSAGE label: LABEL_OPTIONAL
            type_name: ".grpc.reflection.v1.ErrorResponse"
        }
    }
    message_type {
        name: "FileDescriptorResponse"
        field { name: "file_descriptor_proto" number: 1 type: TYPE_BYTES label: LABEL_REPEATED }
    }
    message_type {
        name: "ErrorResponse"
        field { name: "error_message" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
    }
"""


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
