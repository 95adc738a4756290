"""A worker's program: its variables are on parameter servers, where other workers use them too."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from mox_core.engine import Fetch, ProgramRequest, RestoreReport, StepResults
from mox_core.errors import EngineError, ProcessLostError
from mox_tf.cluster.board import STOP, Board, BoardOps
from mox_tf.cluster.hosts import Absences, wait_for
from mox_tf.cluster.leader import Leader
from mox_tf.cluster.losses import is_loss, losses_told, lost_error
from mox_tf.cluster.monitor import Monitor
from mox_tf.cluster.placement import cluster_scope
from mox_tf.cluster.rounds import FAILED, GO, LEAVE, LOST, UNFINISHED, SyncExchange
from mox_tf.cluster.rounds import STOP as STOP_TOKEN
from mox_tf.cluster.spec import PS, WORKER, ClusterSpec
from mox_tf.devices import Placement
from mox_tf.failures import step_error
from mox_tf.graph import ProgramGraph
from mox_tf.program import TensorFlowProgram
from mox_tf.session import ProgramSession
from mox_tf.stepping import StepKind
from mox_tf.tf1 import tf

__all__ = ["ClusterProgram", "WorkerTask"]

_LOOK_EVERY = 0.3
_SAY_EVERY = 30.0
_SECONDS_TO_CLOSE = 5.0


@dataclass(frozen=True)
class WorkerTask:
    """What a worker knows of its cluster.

    Args:
        spec: the cluster.
        server: this process's TensorFlow server.
        interrupted: true once a signal came.
        logger: gets the lines.
    """

    spec: ClusterSpec
    server: Any
    interrupted: Callable[[], bool]
    logger: logging.Logger


class ClusterProgram(TensorFlowProgram):
    """Runs what `build_graph` built, together with other workers.

    Args:
        request: what it was built from.
        graph: the graph, not yet finalized.
        placement: the devices of this worker.
        profile: the first and the last step to trace, or None.
        task: the cluster.
        board: the operations of the boards, in the graph.
        exchange: of synchronous training, in the graph; None in asynchronous.

    Attributes:
        left: this worker has done its last step.
    """

    # A step that is cancelled has lost a parameter server.
    _data_ended = (tf.errors.OutOfRangeError,)

    def __init__(
        self,
        request: ProgramRequest,
        graph: ProgramGraph,
        placement: Placement,
        profile: tuple[int, int] | None = None,
        *,
        task: WorkerTask,
        board: BoardOps,
        exchange: SyncExchange | None,
    ) -> None:
        super().__init__(request, graph, placement, profile)
        self._task = task
        self._spec = task.spec
        self._board = board
        self._exchange = exchange
        self._leader: Leader | None = None
        self._monitor: Monitor | None = None
        self._stamp = 0
        self.left = False
        self._told_to_stop = False
        self._skipped_tokens = False
        workers = {f"worker {index}": at for index, at in enumerate(task.spec.workers)}
        self._absences = Absences(workers, task.spec.timeout, task.logger)
        self._given_up: set[int] = set()
        with graph.graph.as_default(), cluster_scope(task.spec):
            missing = tf.report_uninitialized_variables(tf.global_variables())
            with tf.control_dependencies([missing]):
                # The chief takes `ready` back before it initializes anything.
                self._state = [missing, tf.identity(board.boards[0].read_value())]
            self._boards_up = tf.stack([one.is_initialized() for one in board.boards])

    # ---- Coming and going ------------------------------------------------------------------------

    def _open_session(self) -> ProgramSession:
        """Waits for the parameter servers; the chief initializes, the others wait for it."""
        begun = time.monotonic()
        while True:
            wait_for(
                {f"ps {index}": at for index, at in enumerate(self._spec.ps)},
                timeout=self._spec.timeout,
                interrupted=self._task.interrupted,
                logger=self._task.logger,
            )
            session = ProgramSession(
                self._graph, self._config(), self._initializers, target=self._task.server.target
            )
            try:
                with losses_told(self._spec):
                    self._wait_for_state(session)
                return session
            except ProcessLostError as lost:
                session.close()
                if self._spec.timeout and time.monotonic() - begun >= self._spec.timeout:
                    raise lost
                time.sleep(_LOOK_EVERY)

    def _config(self) -> Any:
        config = self._placement.session_config()
        config.device_filters.extend([f"/job:{PS}", f"/job:{WORKER}/task:{self._spec.index}"])
        return config

    def _wait_for_state(self, session: ProgramSession) -> None:
        run = session.session.run
        self._wait_until(
            lambda: bool(run(self._boards_up).all()), "the parameter servers to begin", []
        )
        missing, board = run(self._state)
        self.joined = not len(missing) and Board.read(board).ready
        if self._spec.is_chief and not self.joined:
            self._board.write_ready(session.session, False)
            session.initialize()
        elif not self._spec.is_chief:

            def is_ready() -> bool:
                missing, board = run(self._state)
                return not len(missing) and Board.read(board).ready

            self._wait_until(is_ready, "worker 0 to load the variables", ["worker 0"])
            self.joined = True
        session.initialize_own()

    def _wait_until(self, true: Callable[[], bool], what: str, needed: list[str]) -> None:
        begun = said = time.monotonic()
        while not true():
            gone = self._absences.too_long(needed)
            if gone:
                raise EngineError(
                    f"{', '.join(gone)} could not be reached for {self._spec.timeout:.0f} "
                    "seconds.\n  Is it running, and are the hosts right? --session_timeout sets "
                    "how long to wait."
                )
            if self._task.interrupted():
                raise KeyboardInterrupt(f"while waiting for {what}")
            now = time.monotonic()
            if now - said >= _SAY_EVERY and not self._absences.away:
                self._task.logger.info("Waiting for %s (%.0f seconds so far).", what, now - begun)
                said = now
            time.sleep(_LOOK_EVERY)

    def rejoin(self) -> None:
        """Closes what is left of the session and opens another one."""
        variables = self._variables
        self._stop_threads()
        self._close_session()
        self._steps.forget()
        self._begun, self._hook_runner = False, None
        self._opened = self._open_session(), variables

    def _begin(self) -> None:
        if self._begun:
            return
        super()._begin()
        session = self._session.session
        first = self.first_step
        if self._exchange is not None and not self.left:
            self._board.write_done(session, self._spec.index, False)
        if self._exchange is not None and self._spec.is_chief:
            self._exchange.forget(session)
            # A worker says on the board first that it is done, then to the chief.
            done = self._board.read(session).done
            self._leader = Leader(self._exchange, session)
            self._stamp = self._leader.begin(i for i, is_done in enumerate(done) if not is_done)
        if self._spec.is_chief and not self.joined:
            self._board.write_ready(session, True, first)
        self._monitor = Monitor(
            self._spec,
            self._board,
            session,
            exchange=self._exchange,
            leader=self._leader,
            stamp=lambda: self._stamp,
            interrupted=self._task.interrupted,
            logger=self._task.logger,
        )
        if self._exchange is not None and not self.left:
            if not self._spec.is_chief:
                self._read_token(self._exchange.join(session))
            self._renew_copies()

    @property
    def first_step(self) -> int:
        """In synchronous training the global step, else how many steps this worker has done."""
        with losses_told(self._spec):
            if self._exchange is not None:
                return self.global_step
            if self.joined:
                board = self._board.read(self._session.session)
                return board.base + board.steps[self._spec.index]
            return self.global_step // len(self._spec.workers)

    @property
    def global_step(self) -> int:
        """How many updates the variables have seen."""
        with losses_told(self._spec):
            return super().global_step

    # ---- Steps -----------------------------------------------------------------------------------

    def run_steps(self, n: int, fetch: Fetch, stop: Callable[[], bool]) -> StepResults:
        """Runs at most `n` steps of this worker."""
        with losses_told(self._spec):
            results = super().run_steps(n, fetch, lambda: stop() or self._is_to_stop())
        assert self._monitor is not None, "the first step starts it"
        self._monitor.raise_failure()
        if self._skipped_tokens:
            self._skipped_tokens = False
            results.global_step = self.global_step
        if results.ended in (None, "stop", "hook") and self._is_to_stop():
            results.ended = "others"
        return results

    def evaluate(
        self, values: Mapping[str, Any], steps: int, stop: Callable[[], bool]
    ) -> list[tuple[dict[str, float], int | None]]:
        """Runs at most `steps` steps of the inter mode."""
        with losses_told(self._spec):
            return super().evaluate(values, steps, stop)

    def _is_to_stop(self) -> bool:
        return self._told_to_stop or (self._monitor is not None and self._monitor.told_to_stop)

    def _run_step(self, kind: StepKind) -> tuple[list[Any] | None, bool]:
        parts, stopped = super()._run_step(kind)
        if parts is not None and self._exchange is not None:
            self._read_token(parts[0][-1])
            stopped = stopped or self._told_to_stop
        return parts, stopped

    def _read_token(self, token: Any) -> None:
        assert self._exchange is not None, "tokens are for synchronous training"
        stamp, kind, *messages = map(int, token)
        renew = False
        if kind == UNFINISHED:
            stamp, kind = self._end_round(stamp, messages)
            self._skipped_tokens = renew = True
        while kind == GO and stamp <= self._stamp:  # left over from before this worker came back
            stamp, kind = map(int, self._session.session.run(self._exchange.next_token))
            self._skipped_tokens = True
            renew = True
        self._stamp = max(stamp, self._stamp)
        self._told_to_stop = self._told_to_stop or kind == STOP_TOKEN
        if kind == LOST:
            raise lost_error(self._spec, "the chief could not end the round")
        if kind == FAILED:
            if self._monitor is not None:
                self._monitor.raise_failure()
            raise EngineError("the gradients could not be applied: see the output of worker 0")
        if renew:
            self._renew_copies()

    def _end_round(self, stamp: int, messages: list[int]) -> tuple[int, int]:
        """Does what the chief's step has left to the leader."""
        assert self._leader is not None, "only the chief ends rounds"
        try:
            return self._leader.end_round(stamp, messages)
        except tf.errors.OpError as error:
            self._raise_told(error)

    def _raise_told(self, error: Exception) -> NoReturn:
        """Raises what ended the leader before a round was over."""
        if is_loss(error):
            raise error
        raise step_error("applying the gradients", error, self._graph.graph) from error

    def _renew_copies(self) -> None:
        """Makes the towers' copies what the variables are by now.

        A step does so when it gets its token. An old token comes before the round has ended.
        """
        if self._graph.refresh is not None:
            self._session.session.run(self._graph.refresh)

    # ---- The end ---------------------------------------------------------------------------------

    def leave(self, *, stop_others: bool) -> None:
        """Tells the others that this worker is done; the chief may ask them to stop."""
        with losses_told(self._spec):
            self._begin()
            session = self._session.session
            if self._spec.is_chief and stop_others:
                self._board.write_word(session, STOP)
                if self._leader is not None:
                    self._leader.stop()
            self._board.write_done(session, self._spec.index, True)
            if self._leader is not None:
                self._leader.take_over(self._stamp)
            elif self._exchange is not None:
                self._exchange.say(session, LEAVE)
        self.left = True

    def others_train(self) -> bool:
        """True on the chief while other workers have steps to do."""
        if not self._spec.is_chief:
            return False
        with losses_told(self._spec):
            if self._leader is not None and self._leader.error is not None:
                self._raise_told(self._leader.error)
            board = self._board.read(self._session.session)
        assert self._monitor is not None, "leave starts it"
        self._monitor.raise_failure()
        unfinished = [
            i for i, done in enumerate(board.done) if not done and i and i not in self._given_up
        ]
        for name in self._absences.too_long([f"worker {index}" for index in unfinished]):
            self._task.logger.warning(
                "%s did not come back to finish its steps: the last checkpoint is saved without "
                "them.",
                name,
            )
            self._given_up.add(int(name.split()[1]))
        if unfinished:
            time.sleep(_LOOK_EVERY)
        return bool(unfinished)

    def close(self) -> None:
        """Ends this worker's part."""
        if self._opened is None:
            self._graph.close_inputs()
            return
        self._stop_threads()
        try:
            if self._begun and not self._failed:
                self._end_hooks()
        finally:
            self._close_session()
            self._graph.close_inputs()

    def _stop_threads(self) -> None:
        if self._leader is not None:
            self._leader.abandon()
        if self._monitor is not None:
            self._monitor.stop()
        self._monitor = self._leader = None

    def _close_session(self) -> None:
        # TensorFlow may wait long for processes that are gone.
        opened, self._opened = self._opened, None
        if opened is not None:
            closing = threading.Thread(target=opened[0].close, daemon=True)
            closing.start()
            closing.join(_SECONDS_TO_CLOSE)

    # ---- Variables -------------------------------------------------------------------------------

    def save(self, prefix: str) -> None:
        """Writes a checkpoint in TensorFlow's format."""
        with losses_told(self._spec):
            super().save(prefix)

    def restore(
        self, prefix: str, include: Callable[[str], bool], *, state: bool = True
    ) -> RestoreReport:
        """Reads a checkpoint in TensorFlow's format."""
        with losses_told(self._spec):
            return super().restore(prefix, include, state=state)

    def variables(self) -> dict[str, Any]:
        """Neutral name -> NumPy array."""
        with losses_told(self._spec):
            return super().variables()

    def assign(self, values: Mapping[str, Any]) -> None:
        """Sets variables by their neutral names."""
        with losses_told(self._spec):
            super().assign(values)

    def nonfinite_variables(self) -> list[str]:
        """Names of variables that hold NaN or infinity."""
        with losses_told(self._spec):
            return super().nonfinite_variables()
