"""Every method of a gRPC server as a Python function, found by server reflection: no .proto files, no generated code.

    rpc = methods(grpc.insecure_channel("127.0.0.1:50051"))
    rpc["backup.v1.LogService/AppendLogs"]({"backup_id": ..., "entries": [...]})       # gives the answer
    rpc["backup.v1.LogService/TailLogs"]({"backup_ids": [...]})                        # gives an iterator over the answers

Requests and answers are dicts as in protobuf's JSON: enums are names, 64-bit numbers and bytes are strings, and what has its default is
left out of an answer. A stream of requests is an iterable of dicts. Works with any server that has reflection.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, text_format


def methods(channel):
    """The methods of all services, by their full names."""
    [listed] = ask(channel, {"list_services": "*"})
    names = [service.name for service in listed.list_services_response.service]
    pool = describe(channel, *names)
    services = [pool.FindServiceByName(name) for name in names]
    return {f"{service.full_name}/{method.name}": caller(channel, method) for service in services for method in service.methods}


def caller(channel, method):
    described = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(described)
    kinds = ["stream" if streams else "unary" for streams in (described.client_streaming, described.server_streaming)]
    connect = getattr(channel, "_".join(kinds))  # unary_stream, for example
    request_class = message_class(method.input_type)
    rpc = connect(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda request: json_format.ParseDict(request, request_class()).SerializeToString(),
        response_deserializer=message_class(method.output_type).FromString,
    )

    def call(request, **options):
        answer = rpc(iter(request) if described.client_streaming else request, **options)
        return map(to_dict, answer) if described.server_streaming else to_dict(answer)

    return call


def to_dict(message):
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def message_class(descriptor):
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory().GetPrototype(descriptor)  # protobuf before 4.22


def describe(channel, *symbols):
    """A pool with the files that declare these symbols, and all that they import."""
    answers = ask(channel, *({"file_containing_symbol": symbol} for symbol in symbols))
    files = [file for answer in answers for file in answer.file_descriptor_response.file_descriptor_proto]
    return pool_of(descriptor_pb2.FileDescriptorProto.FromString(file) for file in files)


def pool_of(files):
    """A pool takes a file only after those that it imports, and only once."""
    pool = descriptor_pool.DescriptorPool()
    left = {file.name: file for file in files}

    def add(name):
        file = left.pop(name, None)
        if file:
            for imported in file.dependency:
                add(imported)
            pool.AddSerializedFile(file.SerializeToString())

    for name in list(left):
        add(name)
    return pool


def ask(channel, *questions):
    """Asks the server about itself."""
    pool = pool_of([text_format.Parse(REFLECTION, descriptor_pb2.FileDescriptorProto())])
    request_class, response_class = (
        message_class(pool.FindMessageTypeByName(f"grpc.reflection.v1.ServerReflection{name}")) for name in ("Request", "Response")
    )
    reflect = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )
    answers = list(reflect(request_class(**question) for question in questions))
    for answer in answers:
        if answer.HasField("error_response"):
            raise LookupError(answer.error_response.error_message)
    return answers


# The part of grpc/reflection/v1/reflection.proto that is used here; the package grpcio-reflection has all of it.
REFLECTION = """
    name: "reflection.proto"
    package: "grpc.reflection.v1"
    syntax: "proto3"
    message_type {
        name: "ServerReflectionRequest"
        field { name: "file_containing_symbol" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL }
        field { name: "list_services" number: 7 type: TYPE_STRING label: LABEL_OPTIONAL }
    }
    message_type {
        name: "ServerReflectionResponse"
        field {
            name: "file_descriptor_response" number: 4 type: TYPE_MESSAGE label: LABEL_OPTIONAL
            type_name: ".grpc.reflection.v1.FileDescriptorResponse"
        }
        field {
            name: "list_services_response" number: 6 type: TYPE_MESSAGE label: LABEL_OPTIONAL
            type_name: ".grpc.reflection.v1.ListServiceResponse"
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
        name: "ListServiceResponse"
        field {
            name: "service" number: 1 type: TYPE_MESSAGE label: LABEL_REPEATED
            type_name: ".grpc.reflection.v1.ServiceResponse"
        }
    }
    message_type {
        name: "ServiceResponse"
        field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    }
    message_type {
        name: "ErrorResponse"
        field { name: "error_message" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
    }
"""
