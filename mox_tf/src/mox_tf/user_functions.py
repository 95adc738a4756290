"""Calling what the user wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mox_core.errors import SpecError

__all__ = ["call_user_function"]

_MADE_OUTSIDE = (
    "must be from the same graph",
    "is not an element of this graph",
    "of the iterator is different from the graph",
    "Attempting to capture an EagerTensor",
    "is undefined when eager execution is enabled",
)


def call_user_function(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function of the user's; its own errors go through as they are.

    Raises:
        SpecError: it used a tensor that was made outside of it.
    """
    try:
        return function(*arguments)
    except (AttributeError, RuntimeError, ValueError) as error:
        if any(sign in str(error) for sign in _MADE_OUTSIDE):
            name = getattr(function, "__name__", type(function).__name__)
            raise SpecError(
                f"{name} uses a tensor that was made outside of input_fn, model_fn and "
                "optimizer_fn, so it belongs to another graph.\n"
                f"  Make it inside of the function. TensorFlow says: {str(error).splitlines()[0]}"
            ) from error
        raise
