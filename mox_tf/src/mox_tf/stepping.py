"""What a step fetches, and how to read what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mox_core.engine import Fetch, StepResults
from mox_tf.graph import ProgramGraph
from mox_tf.inputs import sample_count
from mox_tf.tf1 import tf

__all__ = ["StepGraph", "StepKind"]


@dataclass(frozen=True)
class StepKind:
    """A step that brings back certain things, in parts.

    Args:
        fetches: as `Session.run` takes them: input and update, losses, outputs; in the last step
            of a call also global step, values, samples and summary.
        run: runs such a step and returns the same structure of values.
    """

    fetches: list[Any]
    run: Callable[[], list[Any]]


class StepGraph:
    """Makes the kinds of step that a program's graph can do.

    Args:
        graph: the program's; has to be the default graph and not finalized yet.
    """

    def __init__(self, graph: ProgramGraph) -> None:
        self._graph = graph
        self._loss_names = graph.towers[0].spec.loss_names()
        self._samples = [sample_count(tower.inputs) for tower in graph.towers]
        after = [graph.update] if graph.update is not None else []
        # It may be on a parameter server: then it comes with the server's answer.
        with tf.control_dependencies(after), tf.colocate_with(graph.global_step.handle):
            self._global_step = graph.global_step.read_value()
        self._kinds: dict[tuple[Fetch, bool, int], StepKind] = {}

    def kind(self, session: Any, fetch: Fetch, *, last: bool, towers: int) -> StepKind:
        """The step that brings back what `fetch` says.

        Args:
            session: runs it.
            fetch: `values` and `summary` count in the last step only.
            last: the last step of a call.
            towers: runs only the first so many.
        """
        key = fetch, last, towers
        if key not in self._kinds:
            fetches = self._fetches(fetch, last, towers)
            self._kinds[key] = StepKind(fetches, session.make_callable(fetches))
        return self._kinds[key]

    def forget(self) -> None:
        """Forgets the session that it made steps for."""
        self._kinds.clear()

    def _fetches(self, fetch: Fetch, last: bool, towers: int) -> list[Any]:
        graph = self._graph
        specs = [tower.spec for tower in graph.towers[:towers]]
        fetches = [
            graph.input.reads[:towers] + ([] if graph.update is None else [graph.update]),
            [] if graph.update is None else [spec.losses for spec in specs],
            [spec.output_info or {} for spec in specs] if fetch.outputs else [],
        ]
        if last:
            dynamic = [s if tf.is_tensor(s) else [] for s in self._samples[:towers]]
            fetches += [
                self._global_step,
                [spec.log_info or {} for spec in specs] if fetch.values else [],
                dynamic if fetch.values else [],
                graph.summary if fetch.summary and graph.summary is not None else [],
            ]
        return fetches

    def nonfinite(self, parts: list[Any]) -> tuple[str, ...]:
        """Names of the losses that are NaN or infinite."""
        names: dict[str, None] = {}
        for losses in parts[1]:
            for name, loss in zip(self._loss_names, losses, strict=True):
                if not math.isfinite(loss):
                    names[name] = None
        return tuple(names)

    @staticmethod
    def outputs(parts: list[Any]) -> list[dict[str, Any]]:
        """`output_info` of each tower."""
        outputs: list[dict[str, Any]] = parts[2]
        return outputs

    def read_last(self, parts: list[Any], results: StepResults) -> None:
        """Puts what only the last step brings back into `results`."""
        global_step, values, samples, summary = parts[3:]
        results.global_step = int(global_step)
        results.values = [{k: float(v) for k, v in tower.items()} for tower in values]
        results.samples = [
            int(fetched) if tf.is_tensor(known) else known
            for known, fetched in zip(self._samples, samples, strict=False)
        ]
        results.summary = summary if isinstance(summary, bytes) else None
