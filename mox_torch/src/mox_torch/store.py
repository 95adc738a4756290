"""The variables of a program, and how model_fn makes and finds them.

model_fn is called in every step. The first call makes the variables; from then on the same calls
find them, and making another one is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from typing import Any

import torch
from torch import nn

from mox_core.errors import SpecError
from mox_core.patterns import in_scopes
from mox_core.wording import a_type

__all__ = [
    "VariableStore",
    "active_store",
    "get_variable",
    "module",
    "open_scope",
    "parameters",
    "var_scope",
]

# Not attributes of an nn.Module, whose attributes are slow to set.
_active_store: ContextVar[VariableStore | None] = ContextVar("mox_torch_store", default=None)
_active_scope: ContextVar[str] = ContextVar("mox_torch_scope", default="")


class VariableStore:
    """The modules and single variables that the calls of one model_fn share.

    Args:
        device: where they live.
        adopt: does to a new module what the run's settings ask for, and returns it.
        trainable: name -> whether this variable may be trained.
        compiled: does to generated functions what the run's settings ask for; None: nothing.

    Attributes:
        device: where they live.
        root: holds all of them, under their names with scopes.
        frozen: nothing new can be made.
        compiled: see above.
        collections: key -> name -> what this call of model_fn has collected.
        lowered: what `mox_torch.networks` keeps from one call to the next.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        adopt: Callable[[nn.Module], nn.Module] = lambda new: new,
        trainable: Callable[[str], bool] = lambda name: True,
        compiled: Callable[[Any], Any] | None = None,
    ) -> None:
        self.device = device
        self.root = nn.Module()
        self.frozen = False
        self.compiled = compiled or (lambda function: function)
        self.collections: dict[str, dict[str, torch.Tensor]] = {}
        self.lowered: dict[Any, Any] = {}
        self._adopt = adopt
        self._trainable = trainable
        self._views: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
        self._first_values: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._lazy: list[nn.Module] = []
        self._tokens: list[Token[VariableStore | None]] = []

    # ---- For model_fn ------------------------------------------------------------------------

    def __enter__(self) -> None:
        self._tokens.append(_active_store.set(self))

    def __exit__(self, *exception: object) -> None:
        _active_store.reset(self._tokens.pop())

    def module(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        """See `mox_torch.module`."""
        found = self.root._modules.get(name)
        if found is not None:
            return found
        self._check_new("module", name)
        made = make()
        if not isinstance(made, nn.Module):
            raise SpecError(
                f"mox.module({name!r}, ...): the function returned {a_type(made)}; "
                "it has to return a torch.nn.Module."
            )
        made = self._adopt(made.to(self.device))
        for key, parameter in made.named_parameters():
            if not self._trainable(f"{name}/{key.replace('.', '/')}"):
                parameter.requires_grad_(False)
        for part in made.modules():
            for buffer in part._buffers.values():
                if isinstance(buffer, nn.parameter.UninitializedBuffer):
                    self._lazy.append(part)
                elif buffer is not None:
                    self._first_values.append((buffer, buffer.clone()))
        self.root.add_module(name, made)
        return made

    def variable(
        self,
        name: str,
        shape: Sequence[int],
        initializer: Callable[[torch.Tensor], Any] | torch.Tensor | float,
        *,
        trainable: bool,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """See `mox_torch.get_variable`."""
        found: torch.Tensor | None = self.root._parameters.get(name)
        if found is None:
            found = self.root._buffers.get(name)
        if found is None:
            self._check_new("variable", name)
            found = self._make(name, tuple(shape), initializer, trainable=trainable, dtype=dtype)
        elif found.shape != torch.Size(shape):
            raise SpecError(
                f"variable {name!r} has shape {tuple(found.shape)}, and model_fn asks for "
                f"{tuple(shape)}.\n  Give the second variable a name or a scope of its own."
            )
        return found

    def _make(
        self, name: str, shape: tuple[int, ...], initializer: Any, *, trainable: bool, dtype: Any
    ) -> torch.Tensor:
        value = torch.zeros(shape, dtype=dtype)
        with torch.no_grad():
            if isinstance(initializer, torch.Tensor):
                if initializer.shape != value.shape:
                    raise SpecError(
                        f"variable {name!r}: the initial value has shape "
                        f"{tuple(initializer.shape)}, the variable {shape}."
                    )
                value.copy_(initializer)
            elif callable(initializer):
                initializer(value)
            else:
                value.fill_(initializer)
        return self.adopt_variable(name, value, trainable=trainable)

    def adopt_variable(
        self,
        name: str,
        value: torch.Tensor,
        *,
        trainable: bool,
        view: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Makes a variable of a value.

        Args:
            name: with scopes.
            value: the first one.
            trainable: whether optimizers may update it.
            view: variable -> a view of it as checkpoints have it; None where both are equal.

        Raises:
            SpecError: it is new in a later step, or its name does not do.
        """
        self._check_new("variable", name)
        value = value.to(self.device)
        if view is not None:
            self._views[name] = view
        if not trainable:
            self.root.register_buffer(name, value)
            self._first_values.append((value, value.clone()))
            return value
        parameter = nn.Parameter(value, requires_grad=self._trainable(name))
        self.root.register_parameter(name, parameter)
        return parameter

    def _check_new(self, kind: str, name: str) -> None:
        if not name or "." in name:
            raise SpecError(f"{kind} name {name!r} does not do: it is empty or holds a dot.")
        if self.frozen:
            raise SpecError(
                f"model_fn made a new {kind} {name!r} in a later call.\n"
                "  Make the same ones in every step and mode, so that all are trained and saved."
            )

    # ---- For the program ---------------------------------------------------------------------

    def freeze(self) -> None:
        """Ends the first call: nothing new from now on, and what it did to buffers is undone.

        Raises:
            SpecError: two variables have one name.
        """
        self.frozen = True
        for buffer, value in self._first_values:
            buffer.copy_(value)
        for part in self._lazy:
            reset = getattr(part, "reset_running_stats", None)
            if callable(reset):
                reset()
        self._first_values, self._lazy = [], []
        names = [key.replace(".", "/") for key in self.root.state_dict(keep_vars=True)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SpecError(
                f"there are two variables {twice!r}, of a module and of get_variable.\n"
                "  Give one of them another name or scope."
            )

    def tensors(self) -> dict[str, torch.Tensor]:
        """Name -> tensor of all that is saved, as checkpoints have it. Writing to it writes there.

        A tensor that has two names has its first here.
        """
        return {name: self.view(name, tensor) for name, tensor in self._native().items()}

    def view(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """A view of a tensor in the layout of a variable, as checkpoints have it."""
        view = self._views.get(name)
        return like if view is None else view(like)

    def _native(self) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        seen = set()
        for key, tensor in self.root.state_dict(keep_vars=True).items():
            if isinstance(tensor, torch.Tensor) and id(tensor) not in seen:
                seen.add(id(tensor))
                found[key.replace(".", "/")] = tensor
        return found

    def trainable(self) -> dict[str, nn.Parameter]:
        """Name -> parameter of all that optimizers may update."""
        return {
            name: tensor
            for name, tensor in self._native().items()
            if isinstance(tensor, nn.Parameter) and tensor.requires_grad
        }

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is one of the variables."""
        return any(tensor is one for one in self._native().values())


class var_scope:  # noqa: N801
    """Puts `name/` before the names of modules and variables made in a `with` block; scopes nest.

    Args:
        name: of the scope, as `ModelSpec.var_scopes` names it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._token = _active_scope.set(f"{_active_scope.get()}{self._name}/")

    def __exit__(self, *exception: object) -> None:
        _active_scope.reset(self._token)


def module(name: str, make: Callable[[], nn.Module]) -> Any:
    """Returns the module of this name, the same one in every call of model_fn.

        def model_fn(inputs, mode):
            images, labels = inputs
            logits = mox.module("net", Net)(images)

    It is on the run's device, in training mode in TRAIN and in evaluation mode else. Its variables
    are called `scope/name/path/of/parameter`.

    Args:
        name: below the scopes that are open; no dots.
        make: returns a new `torch.nn.Module`; called once.

    Raises:
        SpecError: called outside of model_fn, or it is new in a later step.
    """
    store = _active_store.get() or active_store("module", name)
    return store.module(_active_scope.get() + name, make)


def get_variable(
    name: str,
    shape: Sequence[int],
    initializer: Callable[[torch.Tensor], Any] | torch.Tensor | float = 0.0,
    *,
    trainable: bool = True,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Returns the variable of this name, the same one in every call of model_fn.

    Args:
        name: below the scopes that are open; no dots.
        shape: its shape.
        initializer: fills a tensor in place, as the functions of `torch.nn.init` do; or a tensor
            of first values; or a number.
        trainable: whether optimizers may update it.
        dtype: its dtype.

    Raises:
        SpecError: called outside of model_fn, new in a later step, or the name stands for another
            shape.
    """
    return active_store("get_variable", name).variable(
        _active_scope.get() + name, shape, initializer, trainable=trainable, dtype=dtype
    )


def parameters(scope: str | None = None) -> list[nn.Parameter]:
    """The trainable parameters that model_fn has made, for an optimizer_fn that needs them.

    Args:
        scope: only those in this scope.

    Raises:
        SpecError: called outside of optimizer_fn and model_fn.
    """
    found = active_store("parameters", scope or "").trainable()
    return [p for name, p in found.items() if scope is None or in_scopes(name, [scope])]


def open_scope() -> str:
    """The scopes that are open, with a slash behind each."""
    return _active_scope.get()


def active_store(function: str, name: str) -> VariableStore:
    """The store of the program whose model_fn is being called.

    Raises:
        SpecError: there is none; names the function of mox and its first argument.
    """
    store = _active_store.get()
    if store is None:
        raise SpecError(f"mox.{function}({name!r}) is called outside of model_fn; call it inside.")
    return store
