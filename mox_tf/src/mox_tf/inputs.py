"""What input_fn returns, made into the inputs of each tower."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mox_core.errors import SpecError
from mox_core.spec import Mode, ModeKeys
from mox_core.wording import a_type
from mox_tf.devices import INPUT_DEVICE
from mox_tf.input_queue import InputQueue
from mox_tf.input_spec import InputSpec
from mox_tf.python_input import PythonInput
from mox_tf.tf1 import DATASET, VARIABLE, tf, without_autotuning
from mox_tf.user_functions import call_user_function

__all__ = ["InputPipeline", "build_input", "placeholders", "sample_count"]


@dataclass(frozen=True)
class InputPipeline:
    """The input of one mode.

    Args:
        towers: for each tower what model_fn gets: a list or a dict.
        reads: for each tower what takes a batch from the input, whether the model uses it or not.
        queue: hands the batches out to the towers; None where the towers read directly.
        initializer: begins the data anew; None when that is not possible.
        spec: the same structure of tensor specs, for the placeholders of an export.
        source: Python code that the input is read by, or None.
    """

    towers: list[Any]
    reads: list[Any]
    queue: InputQueue | None = None
    initializer: Any = None
    spec: Any = None
    source: PythonInput | None = None

    def raise_error(self) -> None:
        """Raises what went wrong in Python code that reads the input, if anything did."""
        if self.source is not None:
            self.source.raise_error()


def build_input(
    input_fn: Callable[..., Any] | None,
    mode: Mode,
    *,
    towers: int,
    batch_size: int | None,
    threads: int | None,
) -> InputPipeline:
    """Calls input_fn once and shares what it returns out to the towers.

    Args:
        input_fn: the user's function; None for models that need no input.
        mode: what it is called with.
        towers: how many batches a step takes.
        batch_size: batches single samples; None where the inputs are batches.
        threads: how many read ahead; Python code is read by one. None: nothing is read ahead.

    Raises:
        SpecError: input_fn returned something that is no input.
    """
    if input_fn is None:
        return InputPipeline([[] for _ in range(towers)], [tf.no_op()] * towers, spec=[])
    where = f"input_fn({mode!s})"
    with tf.device(INPUT_DEVICE), without_autotuning():
        returned = call_user_function(input_fn, mode)
        initializer, source, auto_batched = None, None, batch_size is not None
        if isinstance(returned, PythonInput):
            source, initializer, returned = returned, returned.rewind, returned.inputs
        if isinstance(returned, DATASET):
            if batch_size:
                returned = returned.batch(batch_size, drop_remainder=mode == ModeKeys.TRAIN)
                batch_size = None
            iterator = _iterator(returned, where)
            initializer, returned = iterator.initializer, iterator.get_next()
        inputs = _checked(returned, mode)
        leaves = tf.nest.flatten(inputs, expand_composites=True)
        if batch_size is None and (threads is None or _needs_feeding(leaves)):
            copies = [tf.nest.map_structure(lambda leaf: leaf, inputs) for _ in range(towers)]
            reads = [tf.group(*leaves)] * towers
            spec = _spec(inputs, auto_batched)
            return InputPipeline(copies, reads, None, initializer, spec, source)
        queue = InputQueue(
            leaves,
            where,
            towers=towers,
            batch_size=batch_size,
            whole=mode == ModeKeys.TRAIN,
            threads=1 if source is not None else threads or 1,
        )
        shares = [
            tf.nest.pack_sequence_as(inputs, share, expand_composites=True)
            for share in queue.shares
        ]
    spec = _spec(shares[0], auto_batched)
    return InputPipeline(shares, queue.reads, queue, initializer, spec, source)


def placeholders(spec: Any) -> Any:
    """Makes a placeholder for every tensor of `InputPipeline.spec`."""
    names = iter(f"input_{index}" for index in range(len(tf.nest.flatten(spec))))

    def placeholder(tensor: Any) -> Any:
        name = next(names)
        if isinstance(tensor, tf.SparseTensorSpec):
            return tf.sparse_placeholder(tensor.dtype, tensor.shape, name)
        return tf.placeholder(tensor.dtype, tensor.shape, name)

    return tf.nest.map_structure(placeholder, spec)


def sample_count(inputs: Any) -> Any:
    """The leading dimension of the first input: an int, a scalar tensor, or None if unknown."""
    first = next(iter(tf.nest.flatten(inputs)), None)
    if first is None or first.shape.rank in (None, 0):
        return None
    known = first.shape.as_list()[0]
    if known is not None:
        return known
    if isinstance(first, tf.SparseTensor):
        return first.dense_shape[0]
    return first.nrows() if isinstance(first, tf.RaggedTensor) else tf.shape(first)[0]


def _checked(returned: Any, mode: Mode) -> Any:
    """Returns the inputs as a list or a dict.

    Raises:
        SpecError: there are none, or one is no tensor.
    """
    where = f"input_fn({mode!s})"
    if returned is None:
        raise SpecError(
            f"input_fn returned None in mode {mode!s} (is a return missing?).\n"
            "  Return a tensor, a list or dict of tensors, or a tf.data.Dataset."
        )
    if isinstance(returned, Mapping):
        inputs: Any = dict(returned)
    else:
        inputs = list(returned) if isinstance(returned, (list, tuple)) else [returned]
        inputs = InputSpec(inputs) if isinstance(returned, InputSpec) else inputs
    if not inputs:
        raise SpecError(f"{where} returned an empty {type(returned).__name__}; return tensors.")
    for position, leaf in _leaves(inputs, ""):
        if not tf.is_tensor(leaf):
            raise SpecError(
                f"{where}{position} is {a_type(leaf)}; it has to be a TensorFlow tensor.\n"
                "  Feed Python and NumPy data through tf.data, for example "
                "tf.data.Dataset.from_tensor_slices."
            )
    inputs = tf.nest.map_structure(_value_of, inputs)
    for tensor in tf.nest.flatten(inputs, expand_composites=True):
        # An eager tensor has no graph at all, and raises when it is asked for one.
        if getattr(tensor, "graph", None) is not tf.get_default_graph():
            raise _made_outside(where, "a tensor")
    return inputs


def _iterator(dataset: Any, where: str) -> Any:
    try:
        return tf.data.make_initializable_iterator(dataset)
    except ValueError as error:  # an iterator and its data set have to be in one graph
        raise _made_outside(where, "a data set") from error


def _made_outside(where: str, what: str) -> SpecError:
    return SpecError(
        f"{where} returned {what} that was made outside of input_fn, so it belongs to another "
        "graph.\n  Make it inside of input_fn."
    )


def _value_of(leaf: Any) -> Any:
    return leaf.value() if isinstance(leaf, VARIABLE) else leaf


def _leaves(value: Any, position: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        yield position, value
        return
    for key, item in items:
        yield from _leaves(item, f"{position}[{key!r}]")


def _spec(inputs: Any, auto_batched: bool) -> Any:
    def spec(tensor: Any) -> Any:
        shape = tensor.shape
        if auto_batched:
            shape = tf.TensorShape([None]).concatenate(shape[1:])
        kind = tf.SparseTensorSpec if isinstance(tensor, tf.SparseTensor) else tf.TensorSpec
        return kind(shape, tensor.dtype)

    return tf.nest.map_structure(spec, inputs)


def _needs_feeding(tensors: list[Any]) -> bool:
    """True when a placeholder stands before the tensors: only the step itself can feed it."""
    seen: set[Any] = set()
    ahead = [tensor.op for tensor in tensors]
    while ahead:
        op = ahead.pop()
        if op in seen:
            continue
        seen.add(op)
        if op.type == "Placeholder":
            return True
        ahead += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return False
