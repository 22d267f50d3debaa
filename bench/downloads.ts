// One who downloads a payload, a process of its own: node bench/downloads.ts '{"address", "backupId"}'. Counts bytes; what the MD5 of them is was
// found out when they were uploaded.
import { create, toBinary } from '@bufbuild/protobuf';
import { ControllerService, DownloadPayloadRequestSchema } from '../src/gen/backup/v1/controller_pb.ts';
import { overGrpc, type Stream, stream } from './subscribe.ts';
import { eachField } from './wire.ts';

const { backupId, address } = JSON.parse(process.argv[2]!) as { address: string; backupId: string };

// Numbers of fields in controller.proto.
const CHUNK = 2;
const FINISH = 3;

class Download implements Stream {
  readonly live = true;
  over = false;
  count = 0;

  take(message: Buffer): void {
    eachField(message, 0, message.length, this.#part);
  }

  #part = (field: number, from: number, to: number): void => {
    if (field === CHUNK) this.count += to - from;
    if (field === FINISH) this.over = true;
  };
}

const request = toBinary(DownloadPayloadRequestSchema, create(DownloadPayloadRequestSchema, { backupId }));
stream(1, () => new Download(), overGrpc(ControllerService.method.downloadPayload, request, address));
