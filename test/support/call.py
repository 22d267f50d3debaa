"""A client that knows of a server what reflection tells.

call.py ADDRESS --list prints the names of all methods. call.py ADDRESS reads calls from stdin, each a line of JSON with `method` and
`request`, and prints every answer, as it comes, as a line of JSON. At the first error it prints code and reason to stderr and fails.
"""

import json
import sys
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/python"))
from reflection import describe, message_class, methods  # noqa: E402


def main(address, *flags):
    with grpc.insecure_channel(address) as channel:
        rpc = methods(channel)
        if "--list" in flags:
            print(*sorted(rpc), sep="\n")
            return
        for line in sys.stdin:
            call = json.loads(line)
            try:
                answer = rpc[call["method"]](call["request"])
                for one in [answer] if isinstance(answer, dict) else answer:
                    print(json.dumps(one), flush=True)
            except grpc.RpcError as error:
                sys.exit(json.dumps({"code": error.code().name, "reason": reason(channel, error)}))


def reason(channel, error):
    """What the error's google.rpc.ErrorInfo says."""
    names = ("google.rpc.Status", "google.rpc.ErrorInfo")
    pool = describe(channel, *names)
    status_class, info_class = (message_class(pool.FindMessageTypeByName(name)) for name in names)
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            for detail in status_class.FromString(value).details:
                if detail.Is(info_class.DESCRIPTOR):
                    return info_class.FromString(detail.value).reason
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
