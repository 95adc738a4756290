"""What model_fn may call to find its way among towers and dtypes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from mox_tf.tf1 import tf

__all__ = ["get_collection", "var_scope"]


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """The items of a graph collection that this call of model_fn has added so far.

    Of the variables those are in it that it has made or got; those that the towers share are
    the same in each call. While model_fn runs, `tf.get_collection` gives the same.

    Args:
        key: name of the collection, see `tf.GraphKeys`.
        scope: only items whose names match this regular expression from their beginning.
    """
    items: list[Any] = tf.get_collection(key, scope)
    return items


def var_scope(force_dtype: Any = None) -> AbstractContextManager[Any]:
    """A scope in which `tf.get_variable` stores variables in another dtype than it returns.

    A model can so compute in half precision over full-precision variables (manual 004,
    mox.var_scope). Only floating-point variables are concerned.

    Args:
        force_dtype: of the stored variables; None: the one that is asked for.
    """
    stored = None if force_dtype is None else tf.as_dtype(force_dtype)
    scope: AbstractContextManager[Any] = tf.variable_scope(
        tf.get_variable_scope(),
        custom_getter=None if stored is None else _getter_storing(stored),
        auxiliary_name_scope=False,
    )
    return scope


def _getter_storing(stored: Any) -> Callable[..., Any]:
    def getter(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        dtype = tf.as_dtype(kwargs.get("dtype") or tf.float32).base_dtype
        initial: Any = kwargs.get("initializer")
        if tf.is_tensor(initial):
            dtype = initial.dtype.base_dtype
        if not dtype.is_floating or dtype == stored:
            return getter(name, *args, **kwargs)
        if tf.is_tensor(initial):
            kwargs["initializer"] = tf.cast(initial, stored)
        kwargs["dtype"] = stored
        return tf.cast(getter(name, *args, **kwargs), dtype)

    return getter
