#!/usr/bin/env python3
"""Plays the run of a backup and tails its log, live, until it has finished.

    pip install grpcio protobuf          (Debian: apt-get install python3-grpcio python3-protobuf)
    python3 examples/python/tail.py 127.0.0.1:50051

No code is generated from .proto files: the service describes itself, and reflection.py makes functions of that.
"""

import sys
import threading
import time

import grpc

from reflection import methods


def main(address):
    with grpc.insecure_channel(address) as channel:
        rpc = methods(channel)
        backup_id = create(rpc)
        print(f"backup {backup_id}")
        threading.Thread(target=backup, args=(rpc, backup_id), daemon=True).start()
        for event in tail(rpc, backup_id):
            show(event)


def create(rpc):
    run = {"operation": "OPERATION_BACKUP", "type": "TYPE_COURSE", "item_id": 7, "purpose": "PURPOSE_GENERAL", "user_id": 2}
    return rpc["backup.v1.ControllerService/CreateController"](run)["controller"]["backup_id"]


def backup(rpc, backup_id):
    """Takes the controller through the life cycle of a backup and writes a line at every step."""
    status = "STATUS_CREATED"
    for following, line in [
        ("STATUS_PLANNED", "the plan has 3 tasks"),
        ("STATUS_CONFIGURED", "the settings have their defaults"),
        ("STATUS_AWAITING", "ready to run"),
        ("STATUS_EXECUTING", "writing the archive"),
        ("STATUS_FINISHED_OK", "the archive is written"),
    ]:
        entry = {"level": "LOG_LEVEL_INFO", "message": line}
        rpc["backup.v1.LogService/AppendLogs"]({"backup_id": backup_id, "entries": [entry]})
        step = {"backup_id": backup_id, "from": status, "to": following}
        rpc["backup.v1.ControllerService/TransitionController"](step)
        status = following


def tail(rpc, backup_id):
    """Every event of a log until it is complete, each entry once: a stream that breaks is continued where it was."""
    start = {}
    while True:
        try:
            request = {"backup_ids": [backup_id], "until_finished": True, **start}
            for event in rpc["backup.v1.LogService/TailLogs"](request):
                yield event
                [(kind, said)] = event.items()
                if "resume_token" in said:
                    start = {"resume_token": said["resume_token"]}
                if kind == "end" and said["reason"] in ("REASON_SEALED", "REASON_DELETED"):
                    return
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            time.sleep(1)


def show(event):
    [(kind, said)] = event.items()
    if kind == "entries":
        for entry in said["entries"]:
            print(f"{entry['id']:>3} {entry['level']} {entry.get('message', '')}", flush=True)
    elif kind == "state":
        print(f"    {said['status']}", flush=True)
    elif kind == "end":
        print(f"    {said['reason']}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
