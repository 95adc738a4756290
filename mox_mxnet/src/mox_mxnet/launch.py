"""The processes of a job with MXNet's distributed kvstore, for `mox launch`."""

from __future__ import annotations

import sys

from mox_core.launching import LaunchProcess, LaunchRequest, free_ports, worker_devices

__all__ = ["processes"]

_SERVE = (sys.executable, "-m", "mox_mxnet.serve")
# A worker that waits for one that is gone waits in C++, where no signal reaches it.
_PATIENCE = 5.0


def processes(request: LaunchRequest) -> list[LaunchProcess]:
    """One worker alone needs nobody; several need a scheduler and servers."""
    gpus = {} if request.gpus is None else {"MOX_NUM_GPUS": str(request.gpus)}
    if request.workers == 1:
        return [LaunchProcess("worker 0", {"MOX_RANK": "0", **gpus})]
    servers = request.ps or 1
    (port,) = free_ports(1)
    shared = {
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(port),
        "DMLC_NODE_HOST": "127.0.0.1",
        "DMLC_NUM_WORKER": str(request.workers),
        "DMLC_NUM_SERVER": str(servers),
        **gpus,
    }
    helpers = {**shared, "CUDA_VISIBLE_DEVICES": ""}
    found = [_helper("scheduler", {**helpers, "DMLC_ROLE": "scheduler"})]
    found += [
        _helper(f"server {number}", {**helpers, "DMLC_ROLE": "server"}) for number in range(servers)
    ]
    for rank in range(request.workers):
        own = {"DMLC_ROLE": "worker", "MOX_RANK": str(rank), **worker_devices(request, rank)}
        found.append(LaunchProcess(f"worker {rank}", {**shared, **own}, patience=_PATIENCE))
    return found


def _helper(name: str, environment: dict[str, str]) -> LaunchProcess:
    return LaunchProcess(name, environment, command=_SERVE, serves=True, patience=_PATIENCE)
