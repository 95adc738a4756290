"""One call of model_fn: a tower, which shares its variables with the other towers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mox_core.errors import SpecError
from mox_core.hooks.base import RunHook
from mox_core.spec import Mode, ModelSpec, not_scalar_error
from mox_core.wording import a_type
from mox_tf.copies import TowerCopies
from mox_tf.first_call import FirstCall
from mox_tf.tf1 import tf
from mox_tf.user_functions import call_user_function

__all__ = ["Tower", "build_tower"]

_OF_ONE_CALL = ("ACTIVATIONS", "LOSSES", "REGULARIZATION_LOSSES", "SUMMARIES", "UPDATE_OPS")
_SHARED = frozenset(
    value
    for name, value in vars(tf.GraphKeys).items()
    if isinstance(value, str) and not name.startswith("__") and name not in _OF_ONE_CALL
)


@dataclass(frozen=True)
class Tower:
    """What one call of model_fn gave.

    Args:
        inputs: what it got: a list or a dict of tensors.
        spec: what it returned; losses and `log_info` are scalar tensors.
        update_ops: what it wants to be run with every update of the variables.
        summaries: the summaries that it defined.
        native_hooks: the session hooks of `spec.hooks`.
        copies: its own copies of the variables; None when it works on the variables themselves.
    """

    inputs: Any
    spec: ModelSpec
    update_ops: list[Any]
    summaries: list[Any]
    native_hooks: tuple[Any, ...]
    copies: TowerCopies | None = None

    def own(self, variable: Any) -> Any:
        """What the tower computes with in the place of a variable."""
        return variable if self.copies is None else self.copies.of(variable)

    @property
    def run_hooks(self) -> tuple[RunHook, ...]:
        """The hooks of the core's own kind."""
        return tuple(hook for hook in self.spec.hooks or () if isinstance(hook, RunHook))


def build_tower(
    model_fn: Callable[..., Any],
    inputs: Any,
    mode: Mode,
    *,
    name: str = "",
    reuse: bool = False,
    copies: TowerCopies | None = None,
    first: FirstCall | None = None,
) -> Tower:
    """Calls model_fn.

    Args:
        model_fn: the user's function.
        inputs: what it gets.
        mode: what it gets, too.
        name: scope of the operations; the variables are named without it.
        reuse: the variables exist already.
        copies: takes the tower's own copies of the variables; None: it has none.
        first: shared by all calls for one graph; None: there is one.

    Raises:
        SpecError: it returned something that does not fit, or made variables of its own
            although it has to share them.
    """
    first = FirstCall() if first is None else first
    before = {variable.name for variable in tf.global_variables()}
    with tf.name_scope(name or None), _variables(first, name, reuse, copies), _own_collections():
        returned = call_user_function(model_fn, inputs, mode)
        spec = _checked(ModelSpec.require(returned, mode), mode)
        update_ops = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        summaries = tf.get_collection(tf.GraphKeys.SUMMARIES)
    if reuse:
        _check_no_new_variables(before)
    return Tower(inputs, spec, update_ops, summaries, _native_hooks(spec), copies)


@contextmanager
def _variables(
    first: FirstCall, name: str, reuse: bool, copies: TowerCopies | None
) -> Iterator[None]:
    """Makes the variables of a call, or gives it those of the first one."""
    own = copies.add if copies is not None else lambda variable: variable
    with first.shared(name, own) if reuse else first.remembered(own) as take:
        getter = _getter(first, take) if reuse or copies is not None else first.getter
        with tf.variable_scope(
            tf.get_variable_scope(),
            reuse=reuse or None,
            custom_getter=getter,
            auxiliary_name_scope=False,
        ):
            yield


@contextmanager
def _own_collections() -> Iterator[None]:
    """Lets model_fn see in the graph's collections only what this call of it adds.

    Losses of another tower in `tf.losses.get_total_loss()` would be counted twice. Variables, and
    what TensorFlow keeps for itself, are left as they are.
    """
    graph = tf.get_default_graph()
    keys = [key for key in graph.collections if isinstance(key, str) and key not in _SHARED]
    hidden = {key: graph.get_collection(key) for key in keys}
    for key in keys:
        graph.get_collection_ref(key).clear()
    try:
        yield
    finally:
        for key, items in hidden.items():
            graph.get_collection_ref(key)[:0] = items


def _getter(first: FirstCall, take: Callable[[Any], Any]) -> Callable[..., Any]:
    """Makes a getter that gives what a tower computes with in the place of each variable.

    It adds the regularization loss itself: TensorFlow does so only where a variable is made, so
    that the other towers would go without, and for the variable, not for its copy.
    """
    seen: set[str] = set()

    def getter(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        regularizer = kwargs.pop("regularizer", None)
        with first.in_get_variable():
            variable = take(getter(name, *args, regularizer=None, **kwargs))
            if regularizer is not None and name not in seen:
                loss = regularizer(variable)
                if loss is not None:
                    tf.add_to_collection(tf.GraphKeys.REGULARIZATION_LOSSES, loss)
        seen.add(name)
        return variable

    return getter


def _checked(spec: ModelSpec, mode: Mode) -> ModelSpec:
    """Returns the spec with tensors for all numbers.

    Raises:
        SpecError: a value is no tensor, or is not a scalar.
    """
    loss = spec.loss
    if isinstance(loss, (list, tuple)):
        loss = [_scalar(f"loss[{index}]", one, mode) for index, one in enumerate(loss)]
    elif loss is not None:
        loss = _scalar("loss", loss, mode)
    log_info = spec.log_info and {
        name: _scalar(f"log_info[{name!r}]", value, mode) for name, value in spec.log_info.items()
    }
    output_info = spec.output_info and {
        name: _tensor(f"output_info[{name!r}]", value, mode)
        for name, value in spec.output_info.items()
    }
    for index, hook in enumerate(spec.hooks or ()):
        if not isinstance(hook, (RunHook, tf.train.SessionRunHook)):
            raise SpecError(
                f"ModelSpec.hooks[{index}] is {a_type(hook)}; it has to be a mox.RunHook "
                "or a tf.train.SessionRunHook."
            )
    return ModelSpec(
        loss=loss,
        var_scopes=spec.var_scopes,
        log_info=log_info,
        output_info=output_info,
        export_spec=spec.export_spec,
        hooks=spec.hooks,
    )


def _tensor(field: str, value: Any, mode: Mode) -> Any:
    if isinstance(value, (tf.SparseTensor, tf.RaggedTensor)):
        return value
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"ModelSpec.{field} is {a_type(value)} in mode {mode!s}; "
            "it has to be a TensorFlow tensor."
        ) from error


def _scalar(field: str, value: Any, mode: Mode) -> Any:
    tensor = _tensor(field, value, mode)
    if tensor.shape.rank is None:
        return tf.ensure_shape(tensor, [])
    if tensor.shape.rank:
        raise not_scalar_error(field, tensor.shape, mode)
    return tensor


def _native_hooks(spec: ModelSpec) -> tuple[Any, ...]:
    return tuple(hook for hook in spec.hooks or () if isinstance(hook, tf.train.SessionRunHook))


def _check_no_new_variables(before: set[str]) -> None:
    for variable in tf.global_variables():
        if variable.name not in before:
            raise SpecError(
                f"model_fn makes a variable {variable.op.name!r} of its own each time that it is "
                "called, so several towers or an inter_mode cannot share it.\n"
                "  Make it with tf.get_variable instead of tf.Variable."
            )
