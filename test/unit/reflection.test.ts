import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createFileRegistry, create, type DescFile, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Client, type ClientDuplexStream, credentials, type StatusObject, status } from '@grpc/grpc-js';
import { ControllerService } from '../../src/gen/backup/v1/controller_pb.ts';
import { file_backup_v1_error } from '../../src/gen/backup/v1/error_pb.ts';
import { LogService } from '../../src/gen/backup/v1/log_pb.ts';
import { ServerReflection as V1, type ServerReflectionResponse } from '../../src/gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as V1Alpha } from '../../src/gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { methodDefinition } from '../../src/grpc/definition.ts';
import { type RunningServer, startServer } from '../../src/grpc/server.ts';

