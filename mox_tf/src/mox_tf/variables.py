"""The variables of a graph: listing, reading, setting, saving and restoring them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mox_core.engine import RestoreReport, VariableInfo
from mox_core.errors import CheckpointError, SpecError
from mox_core.plugins.suggest import did_you_mean
from mox_tf.checkpoint_files import CheckpointFiles
from mox_tf.failures import first_line
from mox_tf.tf1 import slice_of, tf

__all__ = ["ProgramVariables"]

GLOBAL_STEP = "global_step"

_BYTES_AT_ONCE = 256 * 2**20


@dataclass(frozen=True)
class ProgramVariables:
    """The global variables of a graph that is about to be finalized.

    Args:
        by_name: neutral name -> variable.
        model: names of those that are the model's; the others are the optimizer's and the step.
        saver: writes them.
        are_finite: one boolean per name in `floating`.
        floating: names of the variables that can hold NaN.
        refresh: makes the towers' copies equal to the variables; None when there are none.
    """

    by_name: Mapping[str, Any]
    model: frozenset[str]
    saver: Any
    are_finite: Any
    floating: tuple[str, ...]
    refresh: Any = None

    @classmethod
    def of_default_graph(cls, model: frozenset[str], refresh: Any) -> ProgramVariables:
        """Takes the variables of the default graph and adds the operations that they need."""
        by_name = {variable.op.name: variable for variable in tf.global_variables()}
        floating = {n: v for n, v in by_name.items() if v.dtype.is_floating}
        saver = tf.train.Saver(
            [*by_name.values(), *tf.get_collection(tf.GraphKeys.SAVEABLE_OBJECTS)],
            allow_empty=True,
        )
        tf.add_to_collection(tf.GraphKeys.SAVERS, saver)  # hooks of the user's may look for it
        with tf.name_scope("are_finite"):
            finite = [tf.reduce_all(tf.is_finite(v.value())) for v in floating.values()]
            are_finite = tf.stack(finite) if finite else tf.constant([], tf.bool)
        return cls(by_name, model, saver, are_finite, tuple(floating), refresh)

    def infos(self) -> list[VariableInfo]:
        """Describes them, without running anything."""
        return [
            VariableInfo(
                name,
                tuple(variable.shape.as_list()),
                variable.dtype.base_dtype.name,
                state=name not in self.model,
            )
            for name, variable in self.by_name.items()
        ]

    def nonfinite(self, session: Any) -> list[str]:
        """Names of variables that hold NaN or infinity."""
        finite = session.run(self.are_finite)
        return [name for name, good in zip(self.floating, finite, strict=True) if not good]

    def read(self, session: Any) -> dict[str, Any]:
        """Name -> NumPy array."""
        return dict(session.run(dict(self.by_name)))

    def assign(self, session: Any, values: Mapping[str, Any]) -> None:
        """Sets variables by name.

        Raises:
            SpecError: there is no such variable, or the shape does not fit; nothing is set.
        """
        arrays = {name: np.asarray(value) for name, value in values.items()}
        for name, array in arrays.items():
            if name not in self.by_name:
                raise SpecError(
                    f"there is no variable {name!r} in this program."
                    f"{did_you_mean(name, self.by_name)}"
                )
            shape = tuple(self.by_name[name].shape.as_list())
            if array.shape != shape:
                raise SpecError(
                    f"variable {name!r} has shape {shape}; the value given has {array.shape}."
                )
            if not _fits(array.dtype, self.by_name[name]):
                raise SpecError(
                    f"variable {name!r} is {_dtype(self.by_name[name])}; "
                    f"the value given is {array.dtype}."
                )
        self._set(session, arrays.items())

    def save(self, session: Any, prefix: str) -> None:
        """Writes `<prefix>.index` and `<prefix>.data-*`.

        Raises:
            CheckpointError: they cannot be written.
        """
        try:
            self.saver.save(session, prefix, write_meta_graph=False, write_state=False)
        except (tf.errors.OpError, OSError, ValueError) as error:
            raise CheckpointError(f"{prefix} cannot be written: {first_line(error)}") from error

    def restore(
        self, session: Any, prefix: str, include: Callable[[str], bool], *, state: bool
    ) -> RestoreReport:
        """Reads a checkpoint; see `Program.restore`."""
        files = CheckpointFiles.open(prefix)
        restored: list[str] = []
        missing: list[str] = []
        missing_state: list[str] = []
        mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for name, variable in self.by_name.items():
            is_state = name not in self.model
            if not include(name) or (is_state and not state and name != GLOBAL_STEP):
                continue
            saved = SavedAs.of(variable)
            if saved.name not in files.shapes:
                (missing_state if is_state else missing).append(name)
                continue
            if files.shapes[saved.name] != saved.shape:
                mismatched[name] = (files.shapes[saved.name], saved.shape)
                continue
            if not _fits(files.dtypes[saved.name].as_numpy_dtype, variable):
                there, here = files.dtypes[saved.name].name, _dtype(variable)
                raise CheckpointError(
                    f"checkpoint {prefix} does not fit: {name!r} is {there} there and {here} in "
                    "the model."
                )
            restored.append(name)
        if missing or mismatched:
            restored = []
        self._set(
            session, ((name, SavedAs.of(self.by_name[name]).read(files)) for name in restored)
        )
        known = {SavedAs.of(variable).name for variable in self.by_name.values()}
        return RestoreReport(
            tuple(restored),
            tuple(missing),
            tuple(missing_state),
            mismatched,
            tuple(sorted(name for name in files.shapes if name not in known)),
        )

    def _set(self, session: Any, values: Iterable[tuple[str, Any]]) -> None:
        """Runs the initializers with other values, many at once but not all: they take memory."""
        initializers: list[Any] = []
        feeds: dict[Any, Any] = {}
        size = 0
        for name, array in values:
            variable = self.by_name[name]
            initializers.append(variable.initializer)
            feeds[variable.initializer.inputs[1]] = array.astype(_dtype(variable), copy=False)
            size += array.nbytes
            if size >= _BYTES_AT_ONCE:
                session.run(initializers, feeds)
                initializers, feeds, size = [], {}, 0
        if initializers:
            session.run(initializers, feeds)
        if self.refresh is not None:
            session.run(self.refresh)


@dataclass(frozen=True)
class SavedAs:
    """Where the value of a variable stands in a checkpoint.

    Args:
        name: in the checkpoint; all parts of a partitioned variable have one.
        shape: of what has this name.
        part: the indices of the variable in it.
    """

    name: str
    shape: tuple[int, ...]
    part: tuple[slice, ...] = ()

    @classmethod
    def of(cls, variable: Any) -> SavedAs:
        """Finds it out for a variable of the graph."""
        whole = slice_of(variable)
        if whole is None:
            return cls(variable.op.name, tuple(variable.shape.as_list()))
        ranges = zip(whole.var_offset, whole.var_shape, strict=True)
        part = tuple(slice(start, start + size) for start, size in ranges)
        return cls(whole.full_name, tuple(whole.full_shape), part)

    def read(self, files: CheckpointFiles) -> Any:
        """The value."""
        value = files.read(self.name)
        return value[self.part] if self.part else value


def _dtype(variable: Any) -> Any:
    return np.dtype(variable.dtype.as_numpy_dtype)


def _fits(dtype: Any, variable: Any) -> bool:
    """Whether values can be stored: in another precision, but not in another kind of number."""
    return bool(np.can_cast(dtype, _dtype(variable), "same_kind"))
