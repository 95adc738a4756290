"""Evaluation in the middle of training: steps of the inter mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mox_core.errors import SpecError
from mox_core.spec import not_scalar_error
from mox_core.wording import a_type
from mox_tf.failures import DATA_ENDED, step_error
from mox_tf.graph import InterModel
from mox_tf.inputs import sample_count
from mox_tf.native_hooks import AggregativeSessionRunHook, HookRunner
from mox_tf.session import ProgramSession
from mox_tf.tf1 import tf

__all__ = ["InterEvaluator", "inter_native_hooks"]


def inter_native_hooks(inter: InterModel | None) -> list[Any]:
    """The session hooks of the inter mode that want to run in its steps."""
    hooks = inter.tower.native_hooks if inter is not None else ()
    return [h for h in hooks if isinstance(h, AggregativeSessionRunHook) and h.run_inter_mode()]


class InterEvaluator:
    """Runs the inter mode, which shares the variables of the main towers.

    Args:
        inter: its model and input. Has to be given before the graph is finalized.
    """

    def __init__(self, inter: InterModel) -> None:
        self._inter = inter
        self._samples = sample_count(inter.tower.inputs)
        self._ended = False
        self._hooks: HookRunner | None = None

    def begin(self, session: ProgramSession) -> None:
        """Tells the hooks of the inter mode that the session is there."""
        self._hooks = HookRunner(
            inter_native_hooks(self._inter), session.session, session.coordinator
        )

    def end(self) -> None:
        """Tells them that the run came to its end without an error."""
        if self._hooks is not None:
            self._hooks.end()

    def evaluate(
        self,
        session: ProgramSession,
        values: Mapping[str, Any],
        steps: int,
        stop: Callable[[], bool],
    ) -> list[tuple[dict[str, float], int | None]]:
        """Runs at most `steps` steps; see `Program.evaluate`."""
        values = {name: self._inter.find(value) for name, value in values.items()}
        self._check(values, session.session.graph)
        assert self._hooks is not None, "begin comes first"
        samples = self._samples if tf.is_tensor(self._samples) else []
        fetches = [dict(values), samples, self._inter.input.reads]
        run_alone = session.session.make_callable(fetches)
        session.session.run(self._inter.reset)
        rows: list[tuple[dict[str, float], int | None]] = []
        can_begin_again = self._inter.input.initializer is not None
        while len(rows) < steps and not (rows and stop()):
            if self._ended and can_begin_again:
                session.begin_data(self._inter.input, str(self._inter.mode))
                self._ended = can_begin_again = False
            try:
                (numbers, count, _), stopped = self._hooks.run(fetches, run_alone)
            except DATA_ENDED:
                session.raise_input_error()
                self._ended = True
                if rows or not can_begin_again:
                    break
                continue
            except tf.errors.OpError as error:
                self._inter.input.raise_error()
                what = f"a step of inter mode {self._inter.mode!s}"
                raise step_error(what, error, session.session.graph) from error
            known = self._samples
            rows.append(
                (
                    {name: float(number) for name, number in numbers.items()},
                    int(count) if tf.is_tensor(known) else known,
                )
            )
            if stopped:
                break
        return rows

    def _check(self, values: Mapping[str, Any], graph: Any) -> None:
        mode = self._inter.mode
        for name, value in values.items():
            if not tf.is_tensor(value) or value.graph is not graph:
                raise SpecError(
                    f"monitor_info[{name!r}] is {a_type(value)} that is no tensor of this "
                    f"model.\n  Give a tensor that model_fn made in mode {mode!s}."
                )
            if value.shape.rank:
                raise not_scalar_error(f"hooks: monitor_info[{name!r}]", value.shape, mode)
