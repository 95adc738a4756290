"""NNBench: what the tests of NNSuite use to build neutral programs and to run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mox_core.engine import Engine, EngineConfig, Fetch, Program, ProgramRequest
from mox_core.flags import get_flag
from mox_core.optim import OptimizerSpec, get_optimizer_fn
from mox_core.spec import Mode, ModeKeys
from mox_core.testing.nn_reference import Array

__all__ = ["NNBench", "never"]

Batches = Sequence[tuple[Array, ...]]


def never() -> bool:
    """A stop function that never stops."""
    return False


class NNBench:
    """Builds neutral programs of an engine, and closes them all in the end.

    Args:
        make_engine: returns a new engine.
    """

    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        self.make_engine = make_engine
        self._engines: dict[int, Engine] = {}
        self._programs: list[Program] = []

    def engine(self, towers: int = 1) -> Engine:
        """Returns an engine that is set up for a number of towers."""
        if towers not in self._engines:
            engine = self._engines[towers] = self.make_engine()
            engine.setup(EngineConfig(towers=towers, get_flag=get_flag))
        return self._engines[towers]

    def build(
        self,
        mode: Mode,
        batches: Batches,
        model_fn: Callable[..., Any],
        *,
        optimizers: Sequence[Callable[[], OptimizerSpec]] | None = None,
        towers: int = 1,
        **request: Any,
    ) -> Program:
        """Builds and starts a neutral program.

        Args:
            mode: its mode.
            batches: what its input_fn gives.
            model_fn: neutral.
            optimizers: for TRAIN; None: gradient descent with rate 1.
            towers: how many.
            request: other fields of the ProgramRequest.
        """
        if mode == ModeKeys.TRAIN:
            chosen = optimizers or [get_optimizer_fn("sgd", 1.0)]
            request["optimizer_fns"] = tuple(chosen)
        program = self.engine(towers).build(
            ProgramRequest(
                mode,
                input_fn=lambda mode, /: list(batches),
                model_fn=model_fn,
                neutral=True,
                **request,
            )
        )
        self._programs.append(program)
        program.start()
        return program

    def predict(self, batches: Batches, model_fn: Callable[..., Any]) -> list[Mapping[str, Array]]:
        """The outputs of one step per batch."""
        program = self.build(ModeKeys.PREDICT, batches, model_fn)
        return [
            program.run_steps(1, Fetch(outputs=True), never).outputs[0] for _ in range(len(batches))
        ]

    def close(self) -> None:
        """Closes all programs, then all engines."""
        for program in self._programs:
            program.close()
        for engine in self._engines.values():
            engine.close()
