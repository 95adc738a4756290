"""The board: a small vector on every parameter server, by which processes tell of themselves.

A parameter server hangs up an empty one when it starts, so an empty one means: a new server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mox_tf.cluster.spec import ClusterSpec
from mox_tf.tf1 import tf

__all__ = ["OVER", "STOP", "Board", "BoardOps", "failed_by", "failure_of", "make_board"]

# The word of the job: 0 while it goes on.
STOP, OVER = 1, 2
_FAILED = 100

_WORD, _READY, _BASE, _FIRST_WORKER = 0, 1, 2, 3


def failure_of(worker: int) -> int:
    """The word that says: this worker failed."""
    return _FAILED + worker


def failed_by(word: int) -> int | None:
    """The worker that a word says has failed."""
    return word - _FAILED if word >= _FAILED else None


@dataclass(frozen=True)
class Board:
    """What stands on a board.

    Args:
        word: 0, `STOP`, `OVER` or `failure_of`.
        ready: the chief has loaded the variables.
        base: the step of every worker at that moment.
        done: for each worker, whether it has done its last step.
        steps: for each worker, how many steps it has done since then.
    """

    word: int
    ready: bool
    base: int
    done: tuple[bool, ...]
    steps: tuple[int, ...]

    @classmethod
    def read(cls, values: Any) -> Board:
        """Makes sense of the vector."""
        numbers = [int(number) for number in values]
        workers = (len(numbers) - _FIRST_WORKER) // 2
        states = numbers[_FIRST_WORKER : _FIRST_WORKER + workers]
        return cls(
            word=numbers[_WORD],
            ready=bool(numbers[_READY]),
            base=numbers[_BASE],
            done=tuple(bool(state) for state in states),
            steps=tuple(numbers[_FIRST_WORKER + workers :]),
        )


def make_board(spec: ClusterSpec, index: int) -> Any:
    """Makes the variable of one parameter server; all graphs that do so share its value."""
    size = _FIRST_WORKER + 2 * len(spec.workers)
    with tf.name_scope(None), tf.device(spec.ps_device(index)):
        return tf.Variable(
            lambda: tf.zeros([size], tf.int64),
            name=f"mox_board_{index}",
            collections=[],
            trainable=False,
            use_resource=True,
        )


class BoardOps:
    """The operations on the boards, in the default graph.

    Args:
        spec: the cluster.

    Attributes:
        boards: one variable per parameter server.
    """

    def __init__(self, spec: ClusterSpec) -> None:
        self._workers = len(spec.workers)
        self.boards = [make_board(spec, index) for index in range(len(spec.ps))]
        with tf.name_scope(None):
            self._place = tf.placeholder(tf.int64, [None], "mox_board_place")
            self._value = tf.placeholder(tf.int64, [None], "mox_board_value")
            self._write = tf.group(
                *(tf.scatter_update(board, self._place, self._value) for board in self.boards)
            )
            self._all = [board.read_value() for board in self.boards]

    def read(self, session: Any) -> Board:
        """Reads the first board; looks at the others, so that the loss of any server shows."""
        return Board.read(session.run(self._all)[0])

    def count_step(self, worker: int) -> Any:
        """Makes the operation that counts a step of a worker."""
        place = _FIRST_WORKER + self._workers + worker
        return tf.scatter_add(self.boards[0], [place], np.array([1], np.int64))

    def write_word(self, session: Any, word: int) -> None:
        """Writes the word of the job, for all to see."""
        self._put(session, {_WORD: word})

    def write_ready(self, session: Any, ready: bool, base: int = 0) -> None:
        """Says whether the variables may be used; if so, workers begin to count at `base`."""
        counts = range(_FIRST_WORKER + self._workers, _FIRST_WORKER + 2 * self._workers)
        if not ready:
            self._put(session, {_READY: 0})
        else:
            self._put(session, {_BASE: base, **dict.fromkeys(counts, 0)})
            self._put(session, {_READY: 1})

    def write_done(self, session: Any, worker: int, done: bool) -> None:
        """Says whether a worker has done its last step."""
        self._put(session, {_FIRST_WORKER + worker: int(done)})

    def _put(self, session: Any, entries: dict[int, int]) -> None:
        session.run(
            self._write,
            {self._place: list(entries), self._value: list(entries.values())},
        )
