"""Several processes that train together, started by torchrun, by `mox launch` or by hand.

Every process runs the whole script on its own part of the data; gradients are averaged.
"""

from __future__ import annotations

import atexit
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from mox_core.eager import DATA_ENDED, GO_ON, LEFT, Processes
from mox_core.engine import Cluster
from mox_core.errors import EngineError
from mox_torch.exchange import GradientExchange

__all__ = ["Group", "OtherProcessError", "join", "local_rank"]

_WORDS = (LEFT, DATA_ENDED, GO_ON)
"""The first of them that a process says decides for all."""

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_ERROR_KEY, _TOLD_KEY = "mox/error", "mox/told"
_SECONDS_TO_READ = 10.0
_BUCKET_BYTES = 25 * 2**20
_NO_LIMIT = 365 * 24 * 3600


def local_rank(get_flag: Callable[[str], Any]) -> int:
    """This process's number on its machine."""
    place = _place(get_flag)
    return place.local_rank if place else 0


@dataclass(frozen=True)
class _Place:
    """Where this process stands among the others.

    Args:
        rank: its number.
        world_size: how many there are.
        local_rank: its number on its machine.
        address: where they meet, as `init_process_group` takes it.
    """

    rank: int
    world_size: int
    local_rank: int
    address: str


def _place(get_flag: Callable[[str], Any]) -> _Place | None:
    """This process's place; None when it is alone."""
    return _place_in_environment() or _place_in_flags(get_flag)


def _place_in_environment() -> _Place | None:
    """The place that torchrun and schedulers of clusters name."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size <= 1:
        return None
    lacking = [name for name in _VARIABLES if name not in os.environ]
    if lacking:
        raise EngineError(
            f"WORLD_SIZE is {world_size}, but {', '.join(lacking)} is not set.\n"
            "  Start the script with torchrun."
        )
    number = int(os.environ.get("LOCAL_RANK", "0"))
    return _Place(int(os.environ["RANK"]), world_size, number, "env://")


def _place_in_flags(get_flag: Callable[[str], Any]) -> _Place | None:
    """The place that mox's own flags name, which `mox launch` sets."""
    if get_flag("ps_hosts") or get_flag("job_name") == "ps":
        raise EngineError(
            "engine 'torch' has no parameter servers, but --ps_hosts or --job_name ps is given.\n"
            "  Start workers only:  mox launch --workers 2 SCRIPT"
        )
    hosts = [host for host in (get_flag("worker_hosts") or "").split(",") if host]
    index = get_flag("task_index")
    if len(hosts) <= 1:
        return None
    if not 0 <= index < len(hosts):
        raise EngineError(
            f"--task_index is {index}, but --worker_hosts names {len(hosts)} processes.\n"
            f"  Give each of them its own number from 0 to {len(hosts) - 1}."
        )
    machines = [host.rpartition(":")[0] for host in hosts]
    number = machines[:index].count(machines[index])
    return _Place(index, len(hosts), number, f"tcp://{hosts[0]}")


def join(device: torch.device, get_flag: Callable[[str], Any]) -> Group | None:
    """Joins the processes that the environment or the flags name; None when there is only this one.

    They stay together until the script ends, so that it may run several times.

    Raises:
        EngineError: what names them is incomplete, or the others do not answer.
    """
    place = _place(get_flag)
    if place is None:
        return None
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        seconds = get_flag("session_timeout") or _NO_LIMIT
        try:
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                init_method=place.address,
                rank=place.rank,
                world_size=place.world_size,
                timeout=timedelta(seconds=seconds),
            )
        except (RuntimeError, ValueError) as error:
            raise EngineError(
                f"rank {place.rank} cannot join the other {place.world_size - 1} processes: "
                f"{_what(error)}.\n  Start all of them; each waits --session_timeout seconds."
            ) from error
        atexit.register(_part)
    return Group()


def _part() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


class Group(Processes):
    """The processes that train together."""

    def __init__(self) -> None:
        rank = dist.get_rank()
        self.cluster = Cluster(rank, dist.get_world_size(), logs=rank == 0)
        # Agreements must not wait for a GPU. And a group of its own really ends when it is to:
        # PyTorch itself keeps references to the default one.
        self._talk: Any = dist.new_group(backend="gloo")
        self._data = self._talk if dist.get_backend() == "gloo" else None
        self._store: Any = dist.distributed_c10d._get_default_store()
        self._exchange: GradientExchange | None = None
        self._ended = False

    def agree(self, word: str) -> str:
        """Tells the others what this process wants, and returns what all do then.

        Raises:
            EngineError: another process failed; with its error.
        """
        said = torch.tensor([_WORDS.index(word)])
        self._collective(lambda: dist.all_reduce(said, dist.ReduceOp.MIN, group=self._talk))
        answer = _WORDS[int(said)]
        self._ended = answer != GO_ON
        return answer

    def average(self, gradients: Sequence[torch.Tensor]) -> None:
        """Replaces gradients by their means over all processes.

        Raises:
            EngineError: another process failed; with its error.
        """
        self._collective(lambda: _average(gradients, self._data))

    def exchange(self, parameters: Sequence[torch.nn.Parameter]) -> GradientExchange:
        """What averages the gradients of these parameters while a backward pass goes on."""
        self._exchange = GradientExchange(
            parameters, lambda flat: dist.all_reduce(flat, group=self._data, async_op=True)
        )
        return self._exchange

    def finish(self, exchange: GradientExchange) -> None:
        """Waits for the gradients of a step.

        Raises:
            EngineError: another process failed; with its error.
        """
        self._collective(exchange.finish)

    def synchronize(
        self,
        variables: Mapping[str, torch.Tensor],
        global_step: int,
        trained: Sequence[Sequence[str]],
    ) -> None:
        """Gives all processes the variables of rank 0.

        Args:
            variables: by name.
            global_step: of this process.
            trained: the names of those that each loss updates.

        Raises:
            EngineError: they do not have or train the same variables, or not the same global step.
        """
        shapes = [(name, tuple(tensor.shape)) for name, tensor in variables.items()]
        mine = (global_step, shapes, trained)
        all_of_them: list[Any] = [None] * self.cluster.world_size
        self._collective(lambda: dist.all_gather_object(all_of_them, mine, group=self._talk))
        for rank, (step, names, updated) in enumerate(all_of_them):
            if step != all_of_them[0][0]:
                raise EngineError(
                    f"rank {rank} begins at step {step}, rank 0 at {all_of_them[0][0]}.\n"
                    "  Put log_dir where all processes can read it."
                )
            if names != all_of_them[0][1]:
                raise EngineError(
                    f"rank {rank} has other variables than rank 0.\n"
                    "  Let model_fn make the same ones in every process."
                )
            if updated != all_of_them[0][2]:
                raise EngineError(
                    f"the losses of rank {rank} reach other variables than those of rank 0.\n"
                    "  Let the first batch of every process use all that is to be trained."
                )
        with torch.no_grad():
            for tensor in variables.values():
                self._collective(partial(_broadcast, tensor, self._data))

    def leave(self) -> None:
        """Says that this process is done, so that the others do not wait for it."""
        if not self._ended:
            self.agree(LEFT)

    def fail(self, error: BaseException) -> None:
        """Leaves the error of this process where the others find it."""
        self._ended = True
        if isinstance(error, OtherProcessError):
            return
        text = f"{type(error).__name__}: {error}"
        try:
            self._store.set(_ERROR_KEY, f"rank {self.cluster.rank} failed: {text}")
            self.close()  # from now on the others notice
            if self.cluster.rank == 0:
                self._wait_until_told()
            else:
                self._store.add(_TOLD_KEY, 1)  # it has an error of its own
        except RuntimeError:
            pass  # the store went down with the process that held it

    def _wait_until_told(self) -> None:
        """Stays, as the holder of the store, until the others have read it; not for long."""
        deadline = time.monotonic() + _SECONDS_TO_READ
        while self._store.add(_TOLD_KEY, 0) < self.cluster.world_size - 1:
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)

    def close(self) -> None:
        """Ends the connection."""
        if self._exchange is not None:
            self._exchange.forget()
        if self._talk is not None and dist.is_initialized():
            dist.destroy_process_group(self._talk)
        self._talk = self._data = None

    def _collective(self, run: Callable[[], Any]) -> None:
        try:
            run()
        except RuntimeError as error:
            raise OtherProcessError(self._why(error)) from None

    def _why(self, error: RuntimeError) -> str:
        try:
            if self._store.check([_ERROR_KEY]):
                told = str(self._store.get(_ERROR_KEY).decode())
                self._store.add(_TOLD_KEY, 1)
                return told
        except RuntimeError:
            pass
        return (
            f"rank {self.cluster.rank} lost another process: {_what(error)}.\n"
            "  Look at the output of the others for what ended them."
        )


class OtherProcessError(EngineError):
    """Another process failed; this one has nothing of its own to tell."""


def _what(error: Exception) -> str:
    """What an error of torch.distributed says, without its place in PyTorch and its advice."""
    first = str(error).partition("\n")[0]
    return re.sub(r"^\[[^\]]*\]\s*", "", first).partition(". This is ")[0].rstrip(".")


def _broadcast(tensor: torch.Tensor, group: Any) -> None:
    packed = tensor.contiguous()
    dist.broadcast(packed, 0, group=group)
    tensor.copy_(packed)


def _average(gradients: Sequence[torch.Tensor], group: Any) -> None:
    pending = []
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        pending.append((bucket, flat, dist.all_reduce(flat, group=group, async_op=True)))
    for bucket, flat, work in pending:
        work.wait()
        flat.div_(dist.get_world_size())
        parts = torch.split(flat, [gradient.numel() for gradient in bucket])
        for gradient, part in zip(bucket, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))


def _buckets(gradients: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Gradients of one dtype, up to a size, in their order."""
    buckets: list[list[torch.Tensor]] = []
    size = 0
    for gradient in gradients:
        count = gradient.numel() * gradient.element_size()
        if not buckets or buckets[-1][0].dtype != gradient.dtype or size + count > _BUCKET_BYTES:
            buckets.append([])
            size = 0
        buckets[-1].append(gradient)
        size += count
    return buckets
