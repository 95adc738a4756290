"""`python -m mox_mxnet.serve`: a scheduler or a server of MXNet's distributed kvstore.

What it is to be stands in MXNet's own variables: DMLC_ROLE, DMLC_PS_ROOT_URI and so on. It ends
when all workers have ended.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

__all__ = ["main"]


def main() -> int:
    """Serves until the workers have ended; returns the exit code."""
    role = os.environ.get("DMLC_ROLE")
    if role not in ("scheduler", "server"):
        print(f"DMLC_ROLE is {role!r}; it has to be scheduler or server.", file=sys.stderr)
        return 2
    if role == "scheduler":
        problem = _port_problem()
        if problem:  # MXNet itself would have all others wait for ever
            print(problem, file=sys.stderr)
            return 1
    # Workers that are asked to end still need it for what they have begun.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    from mox_mxnet.importing import load

    load()  # serves, and leaves by SystemExit
    return 0


def _port_problem() -> str | None:
    host = os.environ.get("DMLC_PS_ROOT_URI", "")
    port = os.environ.get("DMLC_PS_ROOT_PORT", "")
    try:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((host, int(port)))
    except (OSError, ValueError) as error:
        return (
            f"the scheduler cannot listen on {host}:{port} (DMLC_PS_ROOT_URI, DMLC_PS_ROOT_PORT): "
            f"{error}.\nChoose a port that is free."
        )
    return None


if __name__ == "__main__":
    sys.exit(main())
