"""Errors of TensorFlow that mean: another process is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mox_core.errors import ProcessLostError
from mox_tf.cluster.hosts import is_reachable
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.tf1 import tf

__all__ = ["is_loss", "losses_told"]


def is_loss(error: BaseException | None) -> bool:
    """True for what TensorFlow raises when a process that it works with goes away.

    Looks also at what caused the error.
    """
    kinds = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__
    return False


@contextmanager
def losses_told(spec: ClusterSpec) -> Iterator[None]:
    """Turns such errors into one that the core knows.

    Raises:
        ProcessLostError: instead of them.
    """
    try:
        yield
    except ProcessLostError:
        raise
    except Exception as error:
        if not is_loss(error):
            raise
        raise lost_error(spec, type(error.__cause__ or error).__name__) from error


def lost_error(spec: ClusterSpec, why: str) -> ProcessLostError:
    """The error, with the parameter servers that cannot be reached now."""
    away = [f"ps {i} ({at})" for i, at in enumerate(spec.ps) if not is_reachable(at)]
    if away:
        return ProcessLostError(f"Lost {', '.join(away)}.")
    return ProcessLostError(f"Lost a parameter server for a moment ({why}).")
