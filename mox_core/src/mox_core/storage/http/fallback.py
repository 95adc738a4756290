"""The vendor's SDK, for whatever the data plane does not understand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mox_core._lazy import lazy_logger

from .refusals import UnexpectedAnswerError

if TYPE_CHECKING:
    from .base import ObjectStoreDriver

__all__ = ["Fallback", "or_sdk"]

_Method = TypeVar("_Method", bound=Callable[..., Any])

_log = lazy_logger(__name__)


class Fallback:
    """Makes the driver over the vendor's SDK when it is first needed.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], ObjectStoreDriver]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self.made: ObjectStoreDriver | None = None

    def driver(self, error: UnexpectedAnswerError) -> ObjectStoreDriver:
        """The driver that is asked because of `error`."""
        _log.debug("asking the SDK: %s", error)
        with self._lock:
            if self.made is None:
                self.made = self._make()
            return self.made


def or_sdk(method: _Method) -> _Method:
    """Makes a call again with `self.fallback` when its answer was not understood."""
    name = method.__name__

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except UnexpectedAnswerError as error:
            return getattr(self.fallback.driver(error), name)(*args, **kwargs)

    return cast(_Method, call)
