"""A session for one graph, with the threads that feed it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

from mox_tf.failures import input_error, step_error
from mox_tf.graph import ProgramGraph
from mox_tf.input_queue import QueueFeeder
from mox_tf.inputs import InputPipeline
from mox_tf.tf1 import tf
from mox_tf.threads import join_for_a_while

__all__ = ["Initializers", "ProgramSession"]

_SECONDS_TO_END = 2.0
_SECONDS_TO_COMPILE = 120.0  # XLA finishes what it has begun to compile


@dataclass(frozen=True)
class Initializers:
    """Operations that initialize what a graph holds.

    Args:
        variables: the global variables.
        resources: other resources that steps share.
        local: local variables and resources, and tables.
    """

    variables: Any
    resources: Any
    local: Any

    @classmethod
    def of_default_graph(cls) -> Initializers:
        """Makes them, once nothing more will be added to the graph."""
        return cls(
            variables=tf.global_variables_initializer(),
            resources=tf.group(*_creators(tf.GraphKeys.RESOURCES)),
            local=tf.group(
                tf.local_variables_initializer(),
                tf.tables_initializer(),
                *_creators(tf.GraphKeys.LOCAL_RESOURCES),
            ),
        )


class ProgramSession:
    """Initializes what a graph holds, reads its input ahead, and tells its failures.

    Args:
        graph: what to run.
        config: a `ConfigProto`.
        initializers: the graph's.
        target: address of the server that runs the graph; "": this process alone.

    Attributes:
        session: the `tf.Session`.
        coordinator: of the threads; given to session hooks.
        feeder: fills the queue of the main input, once it is read; None where there is none.
    """

    def __init__(
        self, graph: ProgramGraph, config: Any, initializers: Initializers, *, target: str = ""
    ) -> None:
        self._graph = graph
        self._initializers = initializers
        self.session = tf.Session(target, graph=graph.graph, config=config)
        self._compiles = bool(config.graph_options.optimizer_options.global_jit_level)
        self.coordinator = tf.train.Coordinator()
        self.feeder: QueueFeeder | None = None
        self._feeders: list[QueueFeeder] = []
        self._threads: list[Any] = []

    def initialize(self) -> None:
        """Initializes the global variables.

        Raises:
            EngineError: one of them cannot be initialized.
        """
        self._initialize(self._initializers.variables, "initializing the variables")

    def initialize_own(self) -> None:
        """Makes what belongs to this process alone, once the variables have values.

        Raises:
            EngineError: it cannot be made.
        """
        self._initialize(self._initializers.resources, "making the resources of the graph")
        if self._graph.refresh is not None:
            self._initialize(self._graph.refresh, "copying the variables")

    def begin_reading(self) -> None:
        """Initializes tables and local variables, and starts the threads that read the input.

        Called once, before the first step: by then the variables are restored.

        Raises:
            EngineError: a table or a data set cannot be opened.
        """
        graph = self._graph
        self._initialize(self._initializers.local, "initializing tables and local variables")
        self.feeder = self._begin(graph.input, str(graph.mode))
        if graph.inter is not None:
            self._begin(graph.inter.input, str(graph.inter.mode))
        for runner in graph.graph.get_collection(tf.GraphKeys.QUEUE_RUNNERS):
            self._threads += runner.create_threads(
                self.session, self.coordinator, daemon=True, start=True
            )

    def begin_data(self, pipeline: InputPipeline, mode: str) -> None:
        """Lets a data set begin anew.

        Raises:
            EngineError: it cannot be opened.
        """
        try:
            self.session.run(pipeline.initializer)
        except tf.errors.OpError as error:
            raise input_error(mode, error) from error

    def raise_input_error(self) -> None:
        """Raises what went wrong in a thread that reads input, if anything did.

        Raises:
            EngineError: with the user's message.
        """
        for feeder in self._feeders:
            feeder.raise_error()
        try:
            self.coordinator.raise_requested_exception()
        except Exception as error:
            raise input_error(str(self._graph.mode), error) from error

    def close(self) -> None:
        """Ends the threads and frees the session."""
        self.coordinator.request_stop()
        for feeder in self._feeders:
            feeder.stop()
        try:
            self.coordinator.join(
                self._threads, stop_grace_period_secs=_SECONDS_TO_END, ignore_live_threads=True
            )
        except Exception as error:
            # The step that missed the data has told it, unless the run ended before.
            logging.getLogger("tensorflow").debug("a thread that reads input failed: %s", error)
        # The session cannot close while a generator of the user's waits for something: that thread
        # is left to end with the process.
        closing = threading.Thread(target=self.session.close, name="mox-closing", daemon=True)
        closing.start()
        join_for_a_while(closing, _SECONDS_TO_COMPILE if self._compiles else _SECONDS_TO_END)

    def _begin(self, pipeline: InputPipeline, mode: str) -> QueueFeeder | None:
        if pipeline.initializer is not None:
            self.begin_data(pipeline, mode)
        if pipeline.queue is None:
            return None
        feeder = QueueFeeder(
            pipeline.queue, self.session, mode, raise_own_error=pipeline.raise_error
        )
        self._feeders.append(feeder)
        return feeder

    def _initialize(self, initializer: Any, what: str) -> None:
        try:
            self.session.run(initializer)
        except tf.errors.OpError as error:
            raise step_error(what, error, self._graph.graph) from error


def _creators(collection: str) -> list[Any]:
    return [resource.create for resource in tf.get_collection(collection)]
