"""What `mox launch` starts: the processes of one job on this machine.

By default these are parameter servers and workers that are told about each other by the flags
`--ps_hosts` and `--worker_hosts`. An engine that needs others says so in the hook `mox_launch`.
"""

from __future__ import annotations

import glob
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["LaunchProcess", "LaunchRequest", "default_processes", "free_ports", "worker_devices"]


@dataclass(frozen=True)
class LaunchRequest:
    """What the user asked `mox launch` for.

    Args:
        workers: processes that train.
        ps: processes that serve them; None when the user did not say.
        gpus: towers, or GPUs, of each worker; None when the user did not say.
    """

    workers: int
    ps: int | None = None
    gpus: int | None = None


@dataclass(frozen=True)
class LaunchProcess:
    """One process of a job.

    Args:
        name: what its lines are printed behind, such as `worker 0`.
        environment: variables that it gets besides those of `mox launch`.
        command: what runs instead of the user's script; None: the script.
        serves: it is to end by itself once those that do not serve have ended.
        patience: seconds that it has to end in after another process of the job failed.
    """

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] | None = None
    serves: bool = False
    patience: float = 30.0


def default_processes(request: LaunchRequest) -> list[LaunchProcess]:
    """Parameter servers and workers for the flags of mox's own."""
    ps, workers = request.ps or 0, request.workers
    hosts = [f"127.0.0.1:{port}" for port in free_ports(ps + workers)]
    shared = {}
    if request.gpus is not None:
        shared["MOX_NUM_GPUS"] = str(request.gpus)
    if ps + workers > 1:
        shared["MOX_PS_HOSTS"] = ",".join(hosts[:ps])
        shared["MOX_WORKER_HOSTS"] = ",".join(hosts[ps:])
    processes = []
    for index in range(ps):
        own = {"MOX_JOB_NAME": "ps", "MOX_TASK_INDEX": str(index), "CUDA_VISIBLE_DEVICES": ""}
        processes.append(LaunchProcess(f"ps {index}", {**shared, **own}, serves=True))
    for index in range(workers):
        own = {"MOX_JOB_NAME": "worker", "MOX_TASK_INDEX": str(index), "MOX_RANK": str(index)}
        own.update(worker_devices(request, index))
        processes.append(LaunchProcess(f"worker {index}", {**shared, **own}))
    return processes


def worker_devices(request: LaunchRequest, index: int) -> dict[str, str]:
    """The variable that gives a worker GPUs of its own, where there are enough for all of them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        devices = [name for name in visible.split(",") if name]
    else:
        devices = [str(number) for number in range(len(glob.glob("/dev/nvidia[0-9]*")))]
    each = request.gpus or 1
    if request.workers == 1 or len(devices) < request.workers * each:
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(devices[index * each : (index + 1) * each])}


def free_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
