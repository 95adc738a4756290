"""Several processes that train together, started by torchrun or what sets the same variables.

Every process runs the whole script on its own part of the data; gradients are averaged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from mox_core.engine import Cluster
from mox_core.errors import EngineError

__all__ = ["DATA_ENDED", "GO_ON", "LEFT", "Group", "join", "local_rank"]

GO_ON, DATA_ENDED, LEFT = 2, 1, 0
"""What a process says before a step; the smallest number decides for all."""

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_ERROR_KEY = "mox/error"
_BUCKET_BYTES = 25 * 2**20


def local_rank() -> int:
    """This process's number on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def join(device: torch.device, get_flag: Callable[[str], Any]) -> Group | None:
    """Joins the processes that the environment names; None when there is only this one.

    Raises:
        EngineError: the environment is incomplete, or the others do not answer.
    """
    if get_flag("ps_hosts") or "," in (get_flag("worker_hosts") or ""):
        raise EngineError(
            "engine 'torch' has no --ps_hosts and --worker_hosts.\n"
            "  Start the processes with torchrun, which tells them about each other."
        )
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return None
    lacking = [name for name in _VARIABLES if name not in os.environ]
    if lacking:
        raise EngineError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(lacking)} is not set.\n"
            "  Start the script with torchrun."
        )
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"cannot join the other processes: {error}") from error
    return Group()


class Group:
    """The processes that train together.

    Attributes:
        cluster: this process's place among them.
    """

    def __init__(self) -> None:
        rank = dist.get_rank()
        self.cluster = Cluster(rank, dist.get_world_size(), logs=rank == 0)
        # Agreements must not wait for a GPU.
        on_cpu = dist.get_backend() == "gloo"
        self._talk = None if on_cpu else dist.new_group(backend="gloo")
        self._store: Any = dist.distributed_c10d._get_default_store()
        self._ended = False

    def agree(self, word: int) -> int:
        """Tells the others what this process wants, and returns what all do then.

        Raises:
            EngineError: another process failed; with its error.
        """
        said = torch.tensor([word])
        self._collective(lambda: dist.all_reduce(said, dist.ReduceOp.MIN, group=self._talk))
        answer = int(said)
        self._ended = answer != GO_ON
        return answer

    def average(self, gradients: Sequence[torch.Tensor]) -> None:
        """Replaces gradients by their means over all processes.

        Raises:
            EngineError: another process failed; with its error.
        """
        self._collective(lambda: _average(gradients, self.cluster.world_size))

    def synchronize(self, variables: Mapping[str, torch.Tensor], global_step: int) -> None:
        """Gives all processes the variables of rank 0.

        Raises:
            EngineError: they do not have the same variables, or not the same global step.
        """
        mine = (global_step, [(name, tuple(t.shape)) for name, t in variables.items()])
        all_of_them: list[Any] = [None] * self.cluster.world_size
        self._collective(lambda: dist.all_gather_object(all_of_them, mine, group=self._talk))
        for rank, (step, names) in enumerate(all_of_them):
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
        with torch.no_grad():
            for tensor in variables.values():
                self._collective(partial(_broadcast, tensor))

    def leave(self) -> None:
        """Says that this process is done, so that the others do not wait for it."""
        if not self._ended:
            self.agree(LEFT)

    def fail(self, error: BaseException) -> None:
        """Leaves the error of this process where the others find it."""
        self._ended = True
        text = f"{type(error).__name__}: {error}"
        try:
            if not isinstance(error, _OtherFailed):
                self._store.set(_ERROR_KEY, f"rank {self.cluster.rank} failed: {text}")
        except RuntimeError:
            pass  # the store went down with the process that held it

    def close(self) -> None:
        """Ends the connection."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def _collective(self, run: Callable[[], Any]) -> None:
        try:
            run()
        except RuntimeError as error:
            raise _OtherFailed(self._why(error)) from None

    def _why(self, error: RuntimeError) -> str:
        try:
            if self._store.check([_ERROR_KEY]):
                return str(self._store.get(_ERROR_KEY).decode())
        except RuntimeError:
            pass
        first = str(error).splitlines()[0]
        return (
            f"rank {self.cluster.rank} lost another process: {first}.\n"
            "  Look at the output of the others for what ended them."
        )


class _OtherFailed(EngineError):
    """Another process failed; this one has nothing of its own to tell."""


def _broadcast(tensor: torch.Tensor) -> None:
    packed = tensor.contiguous()
    dist.broadcast(packed, 0)
    tensor.copy_(packed)


def _average(gradients: Sequence[torch.Tensor], world_size: int) -> None:
    pending = []
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        pending.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in pending:
        work.wait()
        flat.div_(world_size)
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
