"""The whole life of a parameter server: serve until the chief says that all is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from mox_core.errors import EngineError
from mox_tf.cluster.board import OVER, Board, failed_by, make_board
from mox_tf.cluster.hosts import Absences
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.tf1 import tf

__all__ = ["serve"]

_LOOK_EVERY = 0.5
_SECONDS_FOR_LAST_ANSWERS = 1.0
_SECONDS_AFTER_INTERRUPT = 60.0
_SECONDS_AFTER_FAILURE = 15.0  # for the other workers to read it on the board


def serve(
    spec: ClusterSpec, server: Any, *, interrupted: Callable[[], bool], logger: logging.Logger
) -> None:
    """Holds variables until the job is over.

    An interrupt comes to the workers too: they still need this server for their last checkpoint.

    Args:
        spec: the cluster.
        server: this process's.
        interrupted: true once a signal came.
        logger: gets the lines.

    Raises:
        EngineError: a worker failed, or no worker that is not done can be reached any more.
    """
    with tf.Graph().as_default():
        board = make_board(spec, spec.index)
        config = tf.ConfigProto(device_filters=[spec.device])
        session = tf.Session(server.target, config=config)
        session.run(board.initializer)
        read = session.make_callable(board.read_value())
        logger.info("Parameter server %d serves at %s.", spec.index, spec.address)
        _serve(spec, lambda: Board.read(read()), interrupted, logger)
    # Somebody may still wait for the answer to its last request.
    time.sleep(_SECONDS_FOR_LAST_ANSWERS)


def _serve(
    spec: ClusterSpec,
    read: Callable[[], Board],
    interrupted: Callable[[], bool],
    logger: logging.Logger,
) -> None:
    workers = {f"worker {index}": at for index, at in enumerate(spec.workers)}
    absences = Absences(workers, spec.timeout, logger)
    end: float | None = None
    while True:
        board = read()
        if board.word == OVER:
            logger.info("Parameter server %d ends: the job is over.", spec.index)
            return
        failed = failed_by(board.word)
        if failed is not None:
            end = end or time.monotonic() + _SECONDS_AFTER_FAILURE
            absences.too_long(list(workers))
            if len(absences.away) == len(workers) or time.monotonic() > end:
                raise EngineError(f"worker {failed} failed; its own output says why.")
            time.sleep(_LOOK_EVERY)
            continue
        unfinished = [name for name, done in zip(workers, board.done, strict=True) if not done]
        needed = unfinished or ["worker 0"]
        gone = absences.too_long(needed)
        if len(gone) == len(needed):
            raise EngineError(
                f"{', '.join(gone)} could not be reached for {spec.timeout:.0f} seconds: the "
                "training cannot end.\n  See the output of the workers; the last checkpoint is "
                "in log_dir."
            )
        if interrupted():
            end = end or time.monotonic() + _SECONDS_AFTER_INTERRUPT
            if time.monotonic() > end or len(absences.away) == len(needed):
                return
        time.sleep(_LOOK_EVERY)
