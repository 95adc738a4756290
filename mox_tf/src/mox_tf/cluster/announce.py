"""The last word of a worker to the parameter servers."""

from __future__ import annotations

import threading
from typing import Any

from mox_tf.cluster.board import BoardOps
from mox_tf.cluster.spec import PS, ClusterSpec
from mox_tf.tf1 import tf

__all__ = ["announce"]

_SECONDS = 5.0


def announce(spec: ClusterSpec, server: Any, word: int) -> None:
    """Writes a word on all boards, if that can be done in a few seconds.

    In a session of its own: that of the training may be broken.
    """

    def write() -> None:
        try:
            with tf.Graph().as_default():
                board = BoardOps(spec)
                config = tf.ConfigProto(device_filters=[f"/job:{PS}", spec.device])
                board.write_word(tf.Session(server.target, config=config), word)
        except tf.errors.OpError:
            pass  # there is nobody left to tell

    writer = threading.Thread(target=write, name="mox-announce", daemon=True)
    writer.start()
    writer.join(_SECONDS)
