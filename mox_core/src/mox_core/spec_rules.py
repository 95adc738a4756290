"""What engines check of the user's functions, in one place and in the same words.

`ModelSpec.require` checks what has nothing to do with a framework; the rest needs to know what a
tensor is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mox_core.errors import SpecError
from mox_core.hooks.base import RunHook
from mox_core.spec import ExportSpec, Mode, ModelSpec, not_scalar_error
from mox_core.wording import a_type, counted, returned_type

__all__ = [
    "SpecRules",
    "nothing_to_train_error",
    "optimizer_fn_per_loss",
    "optimizer_kind_error",
    "tensor_getters",
]


@dataclass(frozen=True)
class SpecRules:
    """The rules of one engine.

    Args:
        engine: its name.
        tensor: the class of its tensors, which have a `shape`.
        tensor_name: what users call one, with an article: `"a torch.Tensor"`.
        scalar_shapes: the shapes that a scalar may have.
    """

    engine: str
    tensor: type
    tensor_name: str
    scalar_shapes: tuple[tuple[int, ...], ...] = ((),)

    def hooks(self, spec: ModelSpec) -> tuple[RunHook, ...]:
        """The hooks of a ModelSpec, for an engine that takes no hooks of its framework's own.

        Raises:
            SpecError: one is no RunHook.
        """
        for index, hook in enumerate(spec.hooks or ()):
            if not isinstance(hook, RunHook):
                raise SpecError(
                    f"ModelSpec.hooks[{index}] is {a_type(hook)}; "
                    f"engine {self.engine!r} takes mox.RunHook only."
                )
        return tuple(spec.hooks or ())

    def export_spec(self, spec: ModelSpec) -> ExportSpec | None:
        """The ExportSpec of a ModelSpec.

        Raises:
            SpecError: it holds something else than tensors.
        """
        export = spec.export_spec
        for where in ("inputs_dict", "outputs_dict") if export is not None else ():
            for name, tensor in getattr(export, where).items():
                if not isinstance(tensor, self.tensor):
                    raise self._foreign_error(f"ExportSpec.{where}[{name!r}]", tensor)
        return export

    def check(self, spec: ModelSpec, mode: Mode, *, losses: int | None = None) -> None:
        """Checks what a step relies on, besides `ModelSpec.require`.

        Args:
            spec: what model_fn returned.
            mode: the mode that it was called with.
            losses: for a later call: how many losses have an optimizer.

        Raises:
            SpecError: a loss or a log_info that is no scalar, tensors of something else, or more or
                fewer losses than before.
        """
        if losses is not None and len(spec.losses) != losses:
            now = counted(len(spec.losses), "loss", "losses")
            raise SpecError(
                f"ModelSpec.loss has {now} in a later step, and had {losses} in the first.\n"
                "  Return as many in each call of model_fn; multiply one by 0 to leave it out."
            )
        for index, loss in enumerate(spec.losses):
            where = f"loss[{index}]" if len(spec.losses) > 1 else "loss"
            if not isinstance(loss, self.tensor):
                raise self._foreign_error(f"ModelSpec.{where}", loss)
            self.require_scalar(loss, where, mode)
        for name, value in (spec.log_info or {}).items():
            if not self._is_numeric(value):
                raise self._foreign_error(f"ModelSpec.log_info[{name!r}]", value)
            self.require_scalar(value, f"log_info[{name!r}]", mode)
        for name, value in (spec.output_info or {}).items():
            if not self._is_numeric(value):
                raise self._foreign_error(f"ModelSpec.output_info[{name!r}]", value)

    def require_scalar(self, value: Any, where: str, mode: str) -> None:
        """Checks one value.

        Raises:
            SpecError: it is no scalar; `where` is its place in the ModelSpec.
        """
        shape = tuple(getattr(value, "shape", ()))
        if shape not in self.scalar_shapes:
            raise not_scalar_error(where, shape, mode)

    def _is_numeric(self, value: Any) -> bool:
        import numpy as np

        return isinstance(value, (self.tensor, int, float, np.generic, np.ndarray))

    def _foreign_error(self, where: str, value: object) -> SpecError:
        return SpecError(
            f"{where} is {a_type(value)}; engine {self.engine!r} needs {self.tensor_name} there."
        )


def optimizer_fn_per_loss(
    spec: ModelSpec, optimizer_fns: Sequence[Callable[[], Any]]
) -> list[Callable[[], Any]]:
    """One optimizer_fn for each loss of a ModelSpec.

    Args:
        spec: has the losses.
        optimizer_fns: one for all of them, or one for each.

    Raises:
        SpecError: the numbers do not fit.
    """
    losses, functions = spec.losses, list(optimizer_fns)
    if len(functions) not in (1, len(losses)):
        raise SpecError(
            f"optimizer_fn is a list of {len(functions)}, and ModelSpec.loss has {len(losses)}.\n"
            "  Give one for all losses, or one for each."
        )
    return functions * len(losses) if len(functions) == 1 else functions


def nothing_to_train_error(spec: ModelSpec, index: int, advice: str = "") -> SpecError:
    """The error for a loss that depends on no variable which it may update.

    Args:
        spec: has the losses.
        index: which of them.
        advice: what else to look at, in the engine's own words.
    """
    scopes = spec.scopes_of(index)
    within = "" if scopes is None else f" in the scopes {', '.join(scopes)}"
    return SpecError(
        f"{spec.loss_names()[index]} depends on no trainable variable{within}.\n"
        f"  Check ModelSpec.loss and ModelSpec.var_scopes{advice and f'; {advice}'}."
    )


def optimizer_kind_error(returned: object, engine: str, wanted: str) -> SpecError:
    """The error for what an optimizer_fn returned.

    Args:
        returned: that.
        engine: name of the engine.
        wanted: what it takes.
    """
    return SpecError(
        f"optimizer_fn returned {returned_type(returned)}; engine {engine!r} takes {wanted}."
    )


Getter = Callable[[ModelSpec], Any]


def tensor_getters(spec: ModelSpec) -> dict[int, Getter]:
    """Identity of each tensor of a ModelSpec -> how to get its like from another ModelSpec.

    That is how an eager engine computes the tensors of a hook again: it calls model_fn again, and
    what that returns has the same form.
    """
    return {id(tensor): getter for tensor, getter in _tensors_of(spec)}


def _tensors_of(spec: ModelSpec) -> Iterator[tuple[Any, Getter]]:
    for field in ("log_info", "output_info"):
        for key, tensor in (getattr(spec, field) or {}).items():
            yield tensor, lambda other, f=field, k=key: getattr(other, f)[k]  # type: ignore[misc]
    for index, loss in enumerate(spec.losses):
        yield loss, lambda other, i=index: other.losses[i]  # type: ignore[misc]
    for index, hook in enumerate(spec.hooks or ()):
        for name, held in vars(hook).items():
            if isinstance(held, Mapping):
                for key, tensor in held.items():
                    yield (
                        tensor,
                        lambda other, i=index, n=name, k=key: getattr(other.hooks[i], n)[k],  # type: ignore[misc]
                    )
