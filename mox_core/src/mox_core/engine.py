"""The Engine contract: what a training framework does for mox.

The core owns the run: which checkpoint to load, when to log, save, evaluate and stop, what to
export where. An engine turns the user's functions into a program and runs steps of it. The loop
that calls these methods is `mox_core.running.loop`; `mox_core.testing.ToyEngine` is a complete
engine to read, and `mox_core.testing.EngineSuite` is the test that every engine passes.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mox_core.errors import EngineError

if TYPE_CHECKING:
    from mox_core.hooks.base import RunHook
    from mox_core.spec import ExportSpec, Mode

__all__ = [
    "Capabilities",
    "Cluster",
    "Engine",
    "EngineConfig",
    "Fetch",
    "Program",
    "ProgramRequest",
    "RestoreReport",
    "StepResults",
    "VariableInfo",
]


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. Core and the conformance kit ask these, never the engine's name.

    Args:
        towers: several towers (replicas of the model) in one process.
        inter_mode: evaluation on other data in the middle of training.
        multi_loss: a list of losses with variable scopes and optimizers of their own.
        auto_batch: batches single samples by itself.
        summaries: collects summaries that the user's model defines.
        neutral: runs scripts over `mox_core.nn` (`ProgramRequest.neutral`).
        graph: model_fn is not called in every step: it builds a graph, or is traced.
        export_formats: values of `export_model` that work; the first is the default.
        mixed_precision: dtypes in which it can compute over float32 variables.
        distributed: kinds of distributed runs, for example `"parameter_server"`.
        native_hooks: what else `ModelSpec.hooks` may hold, in words; empty for nothing.
        flags: the flags that it honours besides those of the core. A run warns of others that are
            set.
    """

    towers: bool = False
    inter_mode: bool = False
    multi_loss: bool = False
    auto_batch: bool = False
    summaries: bool = False
    neutral: bool = False
    graph: bool = False
    export_formats: tuple[str, ...] = ()
    mixed_precision: frozenset[str] = frozenset()
    distributed: frozenset[str] = frozenset()
    native_hooks: str = ""
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class EngineConfig:
    """What `Engine.setup` gets.

    Args:
        towers: how many towers the user asked for (`--num_gpus`).
        get_flag: reads any other flag by its name.
        mode: of the run; None: not known.
        interrupted: true once the run is to end; an engine that waits for others asks it.
    """

    towers: int
    get_flag: Callable[[str], Any]
    mode: Mode | None = None
    interrupted: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Cluster:
    """This process's place among those that train together.

    Args:
        rank: number of this process; 0 is the chief.
        world_size: how many processes there are.
        takes_part: False for a process that has no program to build: one that has served others
            until they were done, or that is not needed in this mode.
        logs: False for a process whose log lines would repeat the chief's.
    """

    rank: int = 0
    world_size: int = 1
    takes_part: bool = True
    logs: bool = True

    @property
    def is_chief(self) -> bool:
        """True for the one process that saves, exports and writes summaries."""
        return self.rank == 0


@dataclass(frozen=True)
class ProgramRequest:
    """What `Engine.build` makes a program of.

    The functions are called by position: `input_fn(mode)`, `model_fn(inputs, mode)` (once per
    tower), `optimizer_fn()`. `inputs` is a list, or the dict that input_fn returned.

    Args:
        mode: TRAIN, EVAL, PREDICT or EXPORT.
        input_fn: not called in mode EXPORT.
        model_fn: returns a ModelSpec.
        optimizer_fns: empty unless mode is TRAIN; else one for all losses, or one per loss.
        inter_mode: a mode in which both functions are called once more, on shared
            variables, for evaluation during the run; None for no such thing.
        batch_size: samples per tower and step; None when the inputs are batches already.
        auto_batch: input_fn gives single samples that have to be batched. Too few samples for a
            last batch are left out in TRAIN only.
        stop_on_nan: `run_steps` ends at the first step whose loss is not finite.
        input_spec: `Program.input_spec` of the run that an EXPORT program belongs to.
        neutral: the functions are written over `mox_core.nn`, not for this engine: input_fn
            returns what `mox_core.nn.feed.Feed` reads, model_fn takes and returns `nn.Tensor`s
            (`mox_core.nn.trace` calls it), and an optimizer_fn returns an `OptimizerSpec`.
    """

    mode: Mode
    input_fn: Callable[..., Any] | None
    model_fn: Callable[..., Any]
    optimizer_fns: tuple[Callable[[], Any], ...] = ()
    inter_mode: Mode | None = None
    batch_size: int | None = None
    auto_batch: bool = False
    stop_on_nan: bool = True
    input_spec: Any = None
    neutral: bool = False


@dataclass(frozen=True)
class Fetch:
    """What the core wants to see of the steps that it asks for.

    Args:
        values: `log_info` and the number of samples, of the last step.
        summary: the summaries of the last step.
        outputs: `output_info` of every step.
    """

    values: bool = False
    summary: bool = False
    outputs: bool = False

    def __or__(self, other: Fetch) -> Fetch:
        return Fetch(
            self.values or other.values,
            self.summary or other.summary,
            self.outputs or other.outputs,
        )


@dataclass
class StepResults:
    """What `Program.run_steps` did.

    Args:
        steps: how many steps were done, one whose loss is not finite included; fewer than asked for
            when something ended them.
        global_step: the global step after them.
        ended: None, or why fewer were done: `"data"` (the input ended), `"hook"` (a native hook
            asked to stop), `"nan"`, `"others"` (another process that trains along asked all to
            stop), `"stop"` (the core's stop function said so).
        values: of the last step: per tower, name -> float, in the order of `log_info`. Empty unless
            fetched.
        samples: of the last step: the number of samples per tower, None where unknown.
        outputs: name -> array in the order of `output_info`; ordered by step, then by tower.
        summary: a serialized `Summary` protocol buffer.
        nonfinite: names of the losses that are not finite, when `ended` is `"nan"`.
    """

    steps: int
    global_step: int
    ended: str | None = None
    values: list[dict[str, float]] = field(default_factory=list)
    samples: list[int | None] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    summary: bytes | None = None
    nonfinite: tuple[str, ...] = ()


@dataclass(frozen=True)
class VariableInfo:
    """Name (neutral, tower-free), shape and dtype name of one variable.

    Args:
        name: with scopes.
        shape: its shape.
        dtype: name of its dtype.
        state: it is no variable of the model: an optimizer's, or the global step.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    state: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class RestoreReport:
    """What `Program.restore` found.

    Args:
        restored: variables that were read.
        missing: variables of the model that the checkpoint lacks.
        missing_state: the same for optimizer state, which starts afresh.
        mismatched: name -> (shape in the checkpoint, shape in the model).
        surplus: names in the checkpoint that the program has no variable for.
    """

    restored: tuple[str, ...]
    missing: tuple[str, ...] = ()
    missing_state: tuple[str, ...] = ()
    mismatched: Mapping[str, tuple[Sequence[int], Sequence[int]]] = field(default_factory=dict)
    surplus: tuple[str, ...] = ()

    @classmethod
    def compare(
        cls,
        program: Mapping[str, Sequence[int]],
        saved: Mapping[str, Sequence[int]],
        include: Callable[[str], bool],
        *,
        state_names: Collection[str],
        state: bool,
    ) -> RestoreReport:
        """Finds out what to restore, for engines that hold a whole checkpoint before they do.

        Args:
            program: name -> shape of the program's variables, those of its optimizers included.
            saved: the same of the checkpoint.
            include: as in `Program.restore`.
            state_names: those of the program's that are no variables of the model.
            state: as in `Program.restore`.

        Returns:
            A report whose `restored` are to be assigned: none when something does not fit.
        """
        fitting: list[str] = []
        missing: list[str] = []
        missing_state: list[str] = []
        mismatched: dict[str, tuple[Sequence[int], Sequence[int]]] = {}
        for name, shape in program.items():
            is_state = name in state_names
            left_out = is_state and not state and name != "global_step"
            if left_out or not include(name):
                continue
            if name not in saved:
                (missing_state if is_state else missing).append(name)
            elif tuple(saved[name]) != tuple(shape):
                mismatched[name] = (tuple(saved[name]), tuple(shape))
            else:
                fitting.append(name)
        return cls(
            () if missing or mismatched else tuple(fitting),
            tuple(missing),
            tuple(missing_state),
            mismatched,
            tuple(name for name in saved if name not in program),
        )


class Program(abc.ABC):
    """The user's functions, built for one mode, with their variables.

    Attributes:
        request: what it was built from.
        hooks: the `RunHook`s of the ModelSpec of the first tower.
        inter_hooks: the same of the inter-mode ModelSpec.
        export_spec: the ModelSpec's, or None.
        input_spec: shapes and dtypes of the inputs, for a later EXPORT program; any object.
        summary_tags: tags of the user's own summaries, which the core does not write twice.
        joined: after `start` and `rejoin`: the variables are in use by other processes already, so
            no checkpoint is loaded.
    """

    request: ProgramRequest
    hooks: tuple[RunHook, ...] = ()
    inter_hooks: tuple[RunHook, ...] = ()
    export_spec: ExportSpec | None = None
    input_spec: Any = None
    summary_tags: frozenset[str] = frozenset()
    joined: bool = False

    @property
    @abc.abstractmethod
    def towers(self) -> int:
        """How many towers a step runs."""

    @property
    @abc.abstractmethod
    def global_step(self) -> int:
        """How many updates the variables have seen."""

    @property
    def first_step(self) -> int:
        """How many training steps of this process are done already, once variables are loaded."""
        return self.global_step

    @abc.abstractmethod
    def start(self) -> None:
        """Creates what steps need (sessions, threads) and initializes the variables.

        Every method called after it may raise ProcessLostError; then comes `rejoin`.
        """

    def rejoin(self) -> None:
        """Does what `start` did once more, after a ProcessLostError.

        Raises:
            EngineError: what was lost does not come back.
        """
        raise NotImplementedError("the engine raises ProcessLostError, but has no rejoin")

    def leave(self, *, stop_others: bool) -> None:
        """Tells the other processes that this one has done its last training step.

        Called after the last step, and again where that changes what it says.

        Args:
            stop_others: they are to end too, because a hook or a signal said so.
        """

    def others_train(self) -> bool:
        """True while this process has to stay because others still train; takes its time.

        Called after `leave`. It is at most a second before it answers.
        """
        return False

    @abc.abstractmethod
    def run_steps(self, n: int, fetch: Fetch, stop: Callable[[], bool]) -> StepResults:
        """Runs at most `n` steps.

        A step of TRAIN takes a batch for every tower; EVAL and PREDICT use all batches, so that
        their last step may run fewer towers.

        Args:
            n: 1 or more.
            fetch: what to bring back.
            stop: cheap; asked before every step but the first; True ends the call early.
        """

    def evaluate(
        self, values: Mapping[str, Any], steps: int, stop: Callable[[], bool]
    ) -> list[tuple[dict[str, float], int | None]]:
        """Runs at most `steps` steps of the inter mode, without changing any variable.

        Called on programs with an inter mode only.

        Args:
            values: name -> scalar of the inter-mode model, `monitor_info` of one of `inter_hooks`.
                An eager engine, which has other values in every step, finds them by the hook
                of the same place and the same name.
            steps: how many batches; fewer are used when the data end.
            stop: as in `run_steps`.

        Returns:
            For each batch the values, in the order given, and the number of its samples (None
            where unknown). The next call begins with the data from their start when they ended and
            can be begun again.
        """
        raise NotImplementedError(f"no inter mode ({sorted(values)}, {steps}, {stop})")

    @abc.abstractmethod
    def save(self, prefix: str) -> None:
        """Writes all variables to files whose paths begin with `prefix`.

        The core calls this with a path in a staging folder of its own and moves what it finds.
        """

    @abc.abstractmethod
    def restore(
        self, prefix: str, include: Callable[[str], bool], *, state: bool = True
    ) -> RestoreReport:
        """Reads the variables whose names `include` admits from files that `save` wrote.

        The global step is one of them (its name is `global_step`), in every mode.

        Nothing is changed when the report lists missing or mismatched variables.

        Args:
            prefix: path of the checkpoint without its suffixes.
            include: name -> whether to read this variable.
            state: the optimizer's state too.

        Raises:
            CheckpointError: the files are of another kind; the message names `prefix`.
            DamagedError: (of `mox_core.checkpoint`) they are damaged.
        """

    @abc.abstractmethod
    def variables(self) -> dict[str, Any]:
        """Neutral name -> NumPy array, a copy, of all variables that `save` writes."""

    @abc.abstractmethod
    def assign(self, values: Mapping[str, Any]) -> None:
        """Sets variables from arrays, by neutral name. The opposite of `variables`."""

    @abc.abstractmethod
    def variable_infos(self) -> list[VariableInfo]:
        """Describes all variables that `save` writes."""

    @abc.abstractmethod
    def nonfinite_variables(self) -> list[str]:
        """Names of variables that hold NaN or infinity; asked before every save."""

    def export(self, export_format: str, directory: str) -> None:
        """Writes the model of `export_spec` into the new folder `directory`.

        Called on programs of mode EXPORT after `restore`. The model takes the inputs that
        `export_spec` names, and no others.
        """
        raise NotImplementedError(f"no export to {export_format} ({directory})")

    def graph_def(self) -> bytes | None:
        """A serialized TensorFlow `GraphDef` for TensorBoard, or None."""
        return None

    @abc.abstractmethod
    def close(self) -> None:
        """Releases everything; called once, also after an error and without `start`."""


class Engine(abc.ABC):
    """A training framework, selected by the name of its entry point in group `mox.engines`.

    Attributes:
        name: the value of `--engine`.
        log_name: the logger of a run's lines; the framework's own where its users expect it.
        capabilities: what it can do.
    """

    name: str
    log_name: str = "mox"
    capabilities: Capabilities = Capabilities()

    @abc.abstractmethod
    def setup(self, config: EngineConfig) -> Cluster:
        """Prepares devices and joins the cluster. Called once, before `build`.

        Raises:
            EngineError: the devices or the cluster cannot be had.
            KeyboardInterrupt: `config.interrupted()` became true while it waited for others.
        """

    @abc.abstractmethod
    def build(self, request: ProgramRequest) -> Program:
        """Builds the user's functions.

        Raises:
            SpecError: what they return does not fit.
        """

    @abc.abstractmethod
    def describe(self) -> dict[str, str]:
        """Versions and devices, for `mox doctor`. Raises whatever is broken."""

    def read_checkpoint(self, prefix: str) -> list[VariableInfo] | None:
        """Describes a checkpoint of this framework that has no mox record; None if it is none."""
        return None

    def read_variables(self, prefix: str) -> Mapping[str, Any] | None:
        """Reads a checkpoint of this framework without a model; None if it is none.

        Called without `setup`, as the next one: `mox checkpoint convert` moves variables from one
        engine's checkpoint to another's.

        Returns:
            Neutral name -> NumPy array, of all that `Program.save` writes.

        Raises:
            CheckpointError: the files are damaged.
        """
        return None

    def write_variables(self, prefix: str, values: Mapping[str, Any]) -> None:
        """Writes a checkpoint that `Program.restore` reads, without a model.

        Args:
            prefix: as `Program.save` gets it.
            values: neutral name -> NumPy array, the optimizer's state and `global_step` included.

        Raises:
            CheckpointError: they cannot be written.
            EngineError: the engine does not do this.
        """
        raise EngineError(
            f"engine {self.name!r} writes no checkpoints but those of its own programs."
        )

    def close(self) -> None:
        """Releases what `setup` took; called once, also after an error."""
