"""Which processes there are, and which of them this one is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mox_core.errors import EngineError

__all__ = ["PS", "WORKER", "ClusterSpec"]

PS, WORKER = "ps", "worker"


@dataclass(frozen=True)
class ClusterSpec:
    """The processes of a cluster.

    Args:
        ps: host:port of every parameter server.
        workers: host:port of every worker; the first is the chief.
        job: `PS` or `WORKER`: what this process is.
        index: which of them.
        sync: the workers update the variables together.
        timeout: seconds to wait for a process that cannot be reached; 0: without end.
    """

    ps: tuple[str, ...]
    workers: tuple[str, ...]
    job: str
    index: int
    sync: bool = False
    timeout: float = 600.0

    @classmethod
    def from_flags(cls, get_flag: Callable[[str], Any]) -> ClusterSpec | None:
        """Reads the flags, else the environment variable `TF_CONFIG`; None without a cluster.

        Raises:
            EngineError: they do not make a cluster.
        """
        ps, workers = _hosts(get_flag("ps_hosts")), _hosts(get_flag("worker_hosts"))
        if ps or len(workers) > 1:
            where, job, index = "--ps_hosts, --worker_hosts", get_flag("job_name"), None
            index = get_flag("task_index")
        else:
            where = "TF_CONFIG"
            ps, workers, job, index = _from_tf_config(os.environ.get("TF_CONFIG", ""))
            if not ps and len(workers) <= 1:
                return None
        _check(ps, workers, job, index, where)
        return cls(
            ps, workers, job, index, bool(get_flag("sync_replicas")), get_flag("session_timeout")
        )

    @property
    def is_chief(self) -> bool:
        """True for the first worker."""
        return self.job == WORKER and self.index == 0

    @property
    def address(self) -> str:
        """host:port of this process."""
        return (self.ps if self.job == PS else self.workers)[self.index]

    @property
    def device(self) -> str:
        """The part of a device's name that stands for this process."""
        return f"/job:{self.job}/task:{self.index}"

    def ps_device(self, index: int) -> str:
        """The CPU of a parameter server."""
        return f"/job:{PS}/task:{index % len(self.ps)}/device:CPU:0"

    def tasks(self) -> dict[str, list[str]]:
        """What TensorFlow's servers want to know."""
        return {PS: list(self.ps), WORKER: list(self.workers)}


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(host.strip() for host in (text or "").split(",") if host.strip())


def _from_tf_config(text: str) -> tuple[tuple[str, ...], tuple[str, ...], str, Any]:
    """Parameter servers, workers, job, index; a job `chief` or `master` is the first worker."""
    if not text.strip():
        return (), (), "", 0
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster") or {}, config.get("task") or {}
        jobs = {name: tuple(map(str, hosts)) for name, hosts in cluster.items()}
        job, index = str(task.get("type", "")), int(task.get("index", 0))
    except (AttributeError, TypeError, ValueError) as error:
        raise EngineError(
            f"the environment variable TF_CONFIG cannot be read: {error}.\n"
            '  It looks like {"cluster": {"ps": [...], "worker": [...]}, '
            '"task": {"type": "worker", "index": 0}}.'
        ) from error
    chiefs = jobs.get("chief", ()) or jobs.get("master", ())
    if job in ("chief", "master"):
        job = WORKER
    elif job == WORKER:
        index += len(chiefs)
    return jobs.get(PS, ()), chiefs + jobs.get(WORKER, ()), job, index


def _check(ps: tuple[str, ...], workers: tuple[str, ...], job: str, index: int, where: str) -> None:
    if not ps or not workers:
        missing = "parameter server" if not ps else "worker"
        raise EngineError(
            f"the cluster has no {missing} ({where}).\n"
            "  Give --ps_hosts and --worker_hosts, each as host:port,host:port; `mox launch` --ps."
        )
    for host in (*ps, *workers):
        name, colon, port = host.rpartition(":")
        if not (name and colon and port.isdigit() and 0 < int(port) < 65536):
            raise EngineError(f"{where}: {host!r} is not host:port, such as 10.0.0.1:2222.")
    twice = sorted({host for host in (*ps, *workers) if (*ps, *workers).count(host) > 1})
    if twice:
        raise EngineError(
            f"{where}: {', '.join(twice)} stands there twice.\n  Every process needs its own port."
        )
    counts: Mapping[str, int] = {PS: len(ps), WORKER: len(workers)}
    if job not in counts:
        raise EngineError(
            f"which process of the cluster is this? The job is {job!r} ({where}).\n"
            "  Give --job_name ps or --job_name worker, and --task_index."
        )
    if not 0 <= index < counts[job]:
        raise EngineError(
            f"--task_index is {index}, but there are {counts[job]} processes of job {job!r}: "
            f"0 to {counts[job] - 1} ({where})."
        )
