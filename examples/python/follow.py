#!/usr/bin/env python3
"""Follows the logs of runs into a file, until they have finished; goes on where it was when it is started again, even after a kill.

    pip install grpcio protobuf          (Debian: apt-get install python3-grpcio python3-protobuf)
    python3 examples/python/follow.py 127.0.0.1:50051 folder 0123456789abcdef0123456789abcdef...

The entries are in folder/log.txt, each once and in order. CLIENT_TLS_CA, CLIENT_TLS_CERT, CLIENT_TLS_KEY and CLIENT_TOKEN_FILE name files for a service
that wants TLS, a certificate or a token.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import grpc

from reflection import methods

AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}


def follow(address, folder, backup_ids):
    place = Place(Path(folder))
    pause = 0.1
    while True:
        expired = False
        try:
            with connect(address) as channel:
                tail_logs = methods(channel)["backup.v1.LogService/TailLogs"]
                request = {"backup_ids": backup_ids, "until_finished": True}
                if place.token:
                    request["resume_token"] = place.token
                for event in tail_logs(request):
                    pause = 0.1
                    [(kind, said)] = event.items()
                    place.move(lines(kind, said), said.get("resume_token"))
                    if kind != "end":
                        continue
                    if said["reason"] == "REASON_SEALED":
                        return
                    if said["reason"] == "REASON_DELETED":
                        backup_ids = [one for one in backup_ids if one != said["backup_id"]]
                    expired = said["reason"] == "REASON_TOKEN_EXPIRED"
                    print(said["reason"], file=sys.stderr, flush=True)
        except grpc.RpcError as error:
            # A token that has expired may have been renewed.
            if error.code() not in AGAIN and not (expired and error.code() == grpc.StatusCode.UNAUTHENTICATED):
                raise
        if not backup_ids:
            return
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(2, 2 * pause)


def lines(kind, said):
    if kind != "entries":
        return []
    return [f"{said['backup_id']} {entry['id']} {entry['level']} {json.dumps(entry.get('message', ''))}\n" for entry in said["entries"]]


class Place:
    """What was written and where to go on are one: what came after the last token was kept is cut off, because it comes again."""

    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        self.path = folder / "place.json"
        kept = json.loads(self.path.read_text()) if self.path.exists() else {"token": "", "length": 0}
        self.token = kept["token"]
        self.log = open(folder / "log.txt", "ab")
        self.log.truncate(kept["length"])

    def move(self, lines, token):
        self.log.write("".join(lines).encode())
        self.log.flush()
        if not token:
            return
        self.token = token
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"token": token, "length": self.log.seek(0, os.SEEK_END)}))
        new.replace(self.path)


def connect(address):
    files = {name: os.environ.get(f"CLIENT_{name}") for name in ("TLS_CA", "TLS_CERT", "TLS_KEY", "TOKEN_FILE")}
    options = [("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000), ("grpc.enable_http_proxy", 0)]
    if not any(files.values()):
        return grpc.insecure_channel(address, options)
    ca, cert, key = (Path(files[name]).read_bytes() if files[name] else None for name in ("TLS_CA", "TLS_CERT", "TLS_KEY"))
    credentials = grpc.ssl_channel_credentials(ca, key, cert)
    if files["TOKEN_FILE"]:
        # Read for every call: whoever renews it only has to write it there.
        def bearer(_, done):
            done((("authorization", f"Bearer {Path(files['TOKEN_FILE']).read_text().strip()}"),), None)

        credentials = grpc.composite_channel_credentials(credentials, grpc.metadata_call_credentials(bearer))
    return grpc.secure_channel(address, credentials, options)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: follow.py <address> <folder> <backup id>...")
    follow(sys.argv[1], sys.argv[2], sys.argv[3:])
