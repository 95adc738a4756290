"""Several processes that train together through MXNet's `dist_sync` kvstore.

They are started by `mox launch`, or by whatever sets MXNet's `DMLC_*` variables: a scheduler,
servers that add up gradients, and workers. Every worker runs the whole script on its own part of
the data, and updates its own copy of the variables with the summed gradients.
"""

from __future__ import annotations

import ctypes
import os
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mox_core.eager import DATA_ENDED, GO_ON, LEFT, Processes
from mox_core.engine import Cluster
from mox_core.errors import EngineError
from mox_mxnet.importing import load

if TYPE_CHECKING:
    from mox_mxnet.variables import Variable

__all__ = ["Group", "join"]

mx = load()

_FAILED = "failed"
_WORDS = (GO_ON, DATA_ENDED, LEFT, _FAILED)
"""The last of them that a process says decides for all."""

_VARIABLES = ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER", "DMLC_NUM_SERVER")
_LONGEST_ERROR = 500

_kvstore: Any = None
"""A process can join only once."""


def join(get_flag: Callable[[str], Any]) -> Group | None:
    """Joins the processes that the environment names; None when there is only this one.

    Raises:
        EngineError: the environment is incomplete.
    """
    if get_flag("ps_hosts") or "," in (get_flag("worker_hosts") or ""):
        raise EngineError(
            "engine 'mxnet' has no --ps_hosts and --worker_hosts.\n"
            "  Start the processes with:  mox launch --engine mxnet --workers 2 SCRIPT"
        )
    if os.environ.get("DMLC_ROLE") != "worker":
        return None
    lacking = [name for name in _VARIABLES if name not in os.environ]
    if lacking:
        raise EngineError(
            f"DMLC_ROLE is 'worker', but {', '.join(lacking)} is not set.\n"
            "  Start the processes with:  mox launch --engine mxnet --workers 2 SCRIPT"
        )
    global _kvstore
    if _kvstore is None:
        _kvstore = mx.kv.create("dist_sync")
    own = os.environ.get("MOX_RANK")
    return Group(_kvstore, int(_kvstore.rank if own is None else own))


class Group(Processes):
    """The processes that train together.

    Args:
        kvstore: MXNet's.
        rank: this process's number. The kvstore has numbers of its own.

    Attributes:
        skip_step: takes part in the exchange of a step's gradients without any.
    """

    skip_step: Callable[[], None] | None = None

    def __init__(self, kvstore: Any, rank: int) -> None:
        self.kvstore = kvstore
        self.cluster = Cluster(rank, kvstore.num_workers, logs=rank == 0)
        self._started = False
        self._ended = False
        self._in_step = False
        self._keys: set[str] = set()

    def barrier(self) -> None:
        """Waits until all processes are here, and all that this one has asked for is done."""
        mx.nd.waitall()
        self.kvstore._barrier()

    def agree(self, word: str, error: str = "") -> str:
        """Tells the others what this process wants, and returns what all do then.

        Raises:
            EngineError: another process failed; with its error.
        """
        said = self._everyones("words", np.array([_WORDS.index(word)], np.float32))[:, 0]
        answer = _WORDS[int(said.max())]
        self._ended = answer != GO_ON
        self._in_step = answer == GO_ON
        if answer == _FAILED:
            codes = np.zeros(_LONGEST_ERROR, np.float32)
            encoded = error.encode()[:_LONGEST_ERROR]
            codes[: len(encoded)] = list(encoded)
            errors = self._everyones("errors", codes)
            rank = int(said.argmax())
            text = bytes(errors[rank].astype(np.uint8)).rstrip(b"\0").decode(errors="replace")
            if word != _FAILED:
                raise OtherProcessError(f"rank {rank} failed: {text}")
        return answer

    def step_done(self) -> None:
        """To be called when the gradients of a step are exchanged."""
        self._in_step = False

    def synchronize(self, variables: Sequence[Variable], global_step: int) -> None:
        """Gives all processes the variables of rank 0.

        Raises:
            EngineError: they do not have the same variables, or not the same global step.
        """
        mine = "\n".join(f"{one.name} {one.shape}" for one in variables)
        # float32 holds whole numbers up to 2 ** 24.
        facts = [global_step % 2**24, global_step // 2**24, zlib.crc32(mine.encode()) % 2**24]
        everyones = self._everyones("facts", np.array(facts, np.float32))
        self._started = True
        for rank, (low, high, digest) in enumerate(everyones.astype(int)):
            step, first = low + high * 2**24, everyones[0].astype(int)
            if (low, high) != tuple(first[:2]):
                raise EngineError(
                    f"rank {rank} begins at step {step}, rank 0 at {first[0] + first[1] * 2**24}.\n"
                    "  Put log_dir where all processes can read it."
                )
            if digest != first[2]:
                raise EngineError(
                    f"rank {rank} has other variables than rank 0.\n"
                    "  Let model_fn make the same ones in every process."
                )
        for number, variable in enumerate(variables):
            array = variable.arrays[0]
            given = array if self.cluster.is_chief else mx.nd.zeros_like(array)
            self._summed(f"variable {number}", given.copy(), array)
            for other in variable.arrays[1:]:
                array.copyto(other)
        mx.nd.waitall()

    def leave(self) -> None:
        """Says that this process is done, so that the others do not wait for it."""
        if self._started and not self._ended:
            self.agree(LEFT)

    def fail(self, error: BaseException) -> None:
        """Tells the others the error of this process."""
        if isinstance(error, OtherProcessError):
            return
        if not self._started or self._ended:
            # The others cannot be told, and at its end MXNet would wait for them for ever.
            mx.base._LIB.MXKVStoreSetBarrierBeforeExit(self.kvstore.handle, ctypes.c_int(0))
            return
        if self._in_step and self.skip_step is not None:
            self.skip_step()
        self.agree(_FAILED, f"{type(error).__name__}: {error}")

    def _everyones(self, key: str, mine: Any) -> Any:
        """What each process says: [process, number]."""
        rows = np.zeros((self.cluster.world_size, mine.size), np.float32)
        rows[self.cluster.rank] = mine
        given = mx.nd.array(rows)
        answer = mx.nd.zeros_like(given)
        self._summed(key, given, answer)
        return answer.asnumpy()

    def _summed(self, key: str, given: Any, answer: Any) -> None:
        """Puts the sum over all processes into `answer`; all of them call this."""
        if key not in self._keys:
            self._keys.add(key)
            self.kvstore.init(key, mx.nd.zeros_like(given))
            self.barrier()
        self.kvstore.push(key, given)
        mx.nd.waitall()
        self.kvstore.pull(key, out=answer)


class OtherProcessError(EngineError):
    """Another process failed; this one has nothing of its own to tell."""
