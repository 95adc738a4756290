"""The variables of a native program, and how model_fn makes and finds them.

model_fn is called in every step. The first call makes the variables; from then on the same calls
find them, and making another one is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from typing import Any

from mox_core.errors import SpecError
from mox_core.patterns import in_scopes
from mox_core.wording import a_type
from mox_mxnet.importing import load
from mox_mxnet.variables import Variable

__all__ = ["VariableStore", "block", "get_variable", "parameters", "var_scope"]

mx = load()
gluon = mx.gluon

_active_store: ContextVar[VariableStore | None] = ContextVar("mox_mxnet_store", default=None)
_active_scope: ContextVar[str] = ContextVar("mox_mxnet_scope", default="")


class VariableStore:
    """The blocks and single variables that the calls of one model_fn share.

    Args:
        contexts: where each of them has a copy.
        trainable: name -> whether this variable may be trained.

    Attributes:
        frozen: nothing new can be made.
    """

    def __init__(
        self, contexts: Sequence[Any], *, trainable: Callable[[str], bool] = lambda name: True
    ) -> None:
        self.frozen = False
        self._contexts = list(contexts)
        self._trainable = trainable
        self._blocks: dict[str, Any] = {}
        self._singles: dict[str, Any] = {}
        self._first_values: list[tuple[Any, Any]] = []

    # ---- For model_fn ------------------------------------------------------------------------

    def __enter__(self) -> None:
        self._token: Token[VariableStore | None] = _active_store.set(self)

    def __exit__(self, *exception: object) -> None:
        _active_store.reset(self._token)

    def block(self, name: str, make: Callable[[], Any], initializer: Any) -> Any:
        """See `mox_mxnet.block`."""
        found = self._blocks.get(name)
        if found is not None:
            return found
        self._check_new("block", name)
        made = make()
        if not isinstance(made, gluon.Block):
            raise SpecError(
                f"mox.block({name!r}, ...): the function returned {a_type(made)}; "
                "it has to return a mx.gluon.Block."
            )
        for key, parameter in _named_parameters(made).items():
            full = f"{name}/{key}"
            if parameter.grad_req != "null" and not self._trainable(full):
                parameter.grad_req = "null"
            if parameter._data is None and not parameter._deferred_init:
                default = initializer or mx.init.Uniform()
                parameter.initialize(None, ctx=self._contexts, default_init=default)
            else:
                parameter.reset_ctx(self._contexts)
            self._keep(parameter)
        self._blocks[name] = made
        return made

    def variable(
        self, name: str, shape: Sequence[int], initializer: Any, *, trainable: bool, dtype: str
    ) -> Any:
        """See `mox_mxnet.get_variable`."""
        found = self._singles.get(name)
        if found is None:
            self._check_new("variable", name)
            found = gluon.Parameter(
                name,
                shape=tuple(shape),
                dtype=dtype,
                grad_req="write" if trainable and self._trainable(name) else "null",
            )
            if isinstance(initializer, (int, float)):
                initializer = mx.init.Constant(initializer)
            elif isinstance(initializer, mx.nd.NDArray):
                if initializer.shape != tuple(shape):
                    raise SpecError(
                        f"variable {name!r}: the initial value has shape {initializer.shape}, "
                        f"the variable {tuple(shape)}."
                    )
                initializer = mx.init.Constant(initializer)
            found.initialize(initializer, ctx=self._contexts)
            self._keep(found)
            self._singles[name] = found
        elif found.shape != tuple(shape):
            raise SpecError(
                f"variable {name!r} has shape {found.shape}, and model_fn asks for "
                f"{tuple(shape)}.\n  Give the second variable a name or a scope of its own."
            )
        return found.data(mx.current_context())

    def _keep(self, parameter: Any) -> None:
        if parameter.grad_req == "null":
            data = parameter._data
            value = None if data is None else parameter.data(self._contexts[0]).asnumpy()
            self._first_values.append((parameter, value))

    def _check_new(self, kind: str, name: str) -> None:
        if not name:
            raise SpecError(f"a {kind} needs a name.")
        if self.frozen:
            raise SpecError(
                f"model_fn made a new {kind} {name!r} in a later call.\n"
                "  Make the same ones in every step and mode, so that all are trained and saved."
            )

    # ---- For the program ---------------------------------------------------------------------

    def check_shapes(self) -> None:
        """Checks that the first call has given every variable a shape.

        Raises:
            SpecError: one was never used.
        """
        for name, parameter in self._parameters().items():
            if parameter._data is None:
                raise SpecError(
                    f"variable {name!r} has no shape: model_fn made its block but never called it."
                )

    def put_back(self) -> None:
        """Undoes what the first calls did to variables that are not trained: moving averages."""
        for parameter, value in self._first_values:
            if value is None:  # it had no shape before the first call
                parameter.initialize(
                    None, ctx=self._contexts, default_init=mx.init.Uniform(), force_reinit=True
                )
            else:
                parameter.set_data(mx.nd.array(value, dtype=value.dtype))
        self._first_values = []

    def freeze(self) -> list[Variable]:
        """Ends the first calls: nothing new from now on.

        Raises:
            SpecError: two variables have one name.
        """
        self.frozen = True
        variables = []
        for name, parameter in self._parameters().items():
            trained = parameter.grad_req != "null"
            variables.append(
                Variable(
                    name,
                    tuple(parameter.shape),
                    parameter.list_data(),
                    trained,
                    gradients=parameter.list_grad() if trained else [],
                )
            )
        return variables

    def unhybridize(self) -> None:
        """Has blocks call one operation after the other."""
        for made in self._blocks.values():
            made.hybridize(active=False)

    def parameters(self) -> dict[str, Any]:
        """Name -> `gluon.Parameter` of all that optimizers may update."""
        return {n: one for n, one in self._parameters().items() if one.grad_req != "null"}

    def _parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        seen = set()
        for name, made in self._blocks.items():
            for key, parameter in _named_parameters(made).items():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    found[f"{name}/{key}"] = parameter
        twice = next((name for name in self._singles if name in found), None)
        if twice is not None:
            raise SpecError(
                f"there are two variables {twice!r}, of a block and of get_variable.\n"
                "  Give one of them another name or scope."
            )
        return {**found, **self._singles}


def _named_parameters(made: Any) -> dict[str, Any]:
    """Path below a block -> parameter: by attributes, as `save_parameters` names them."""
    found = {
        name.replace(".", "/"): parameter
        for name, parameter in made._collect_params_with_prefix().items()
    }
    known = {id(parameter) for parameter in found.values()}
    for name, parameter in made.collect_params().items():
        if id(parameter) not in known:  # no attribute holds it
            found[name.removeprefix(made.prefix)] = parameter
    return found


class var_scope:  # noqa: N801
    """Puts `name/` before the names of blocks and variables made in a `with` block; scopes nest.

    Args:
        name: of the scope, as `ModelSpec.var_scopes` names it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._token = _active_scope.set(f"{_active_scope.get()}{self._name}/")

    def __exit__(self, *exception: object) -> None:
        _active_scope.reset(self._token)


def block(name: str, make: Callable[[], Any], initializer: Any = None) -> Any:
    """Returns the gluon block of this name, the same one in every call of model_fn.

        def model_fn(inputs, mode):
            images, labels = inputs
            logits = mox.block("net", make_net)(images)

    It has its parameters in the contexts of all towers. They are called
    `scope/name/path/of/parameter` in checkpoints.

    Args:
        name: below the scopes that are open.
        make: returns a new `mx.gluon.Block`; called once. It need not be initialized.
        initializer: one of `mx.init` for parameters that have none of their own; None: MXNet's
            default, `mx.init.Uniform()`.

    Raises:
        SpecError: called outside of model_fn, or it is new in a later step.
    """
    return _store("block", name).block(_active_scope.get() + name, make, initializer)


def get_variable(
    name: str,
    shape: Sequence[int],
    initializer: Any = 0.0,
    *,
    trainable: bool = True,
    dtype: str = "float32",
) -> Any:
    """Returns the variable of this name, the same one in every call of model_fn.

    Args:
        name: below the scopes that are open.
        shape: its shape.
        initializer: one of `mx.init`, an array of first values, or a number.
        trainable: whether optimizers may update it.
        dtype: its dtype.

    Returns:
        Its array in the context of the tower.

    Raises:
        SpecError: called outside of model_fn, new in a later step, or the name stands for another
            shape.
    """
    return _store("get_variable", name).variable(
        _active_scope.get() + name, shape, initializer, trainable=trainable, dtype=dtype
    )


def parameters(scope: str | None = None) -> list[Any]:
    """The trainable `gluon.Parameter`s that model_fn has made, for an optimizer_fn that needs them.

    Args:
        scope: only those in this scope.

    Raises:
        SpecError: called outside of optimizer_fn and model_fn.
    """
    found = _store("parameters", scope or "").parameters()
    return [one for name, one in found.items() if scope is None or in_scopes(name, [scope])]


def _store(function: str, name: str) -> VariableStore:
    store = _active_store.get()
    if store is None:
        raise SpecError(f"mox.{function}({name!r}) is called outside of model_fn; call it inside.")
    return store
