"""What drivers over a vendor's SDK have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

from mox_core.storage.errors import AccessDeniedError

from .base import ObjectStoreDriver

__all__ = ["SdkDriver", "os_error"]


def os_error(error: BaseException) -> OSError:
    """What the socket said, behind the exceptions that an SDK makes of it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return OSError(str(error) or type(error).__name__)


class SdkDriver(ObjectStoreDriver):
    """Deletes one by one."""

    @abstractmethod
    def delete_one(self, path: str) -> None:
        """Deletes one object; one that is gone is fine."""

    def delete_many(self, paths: Sequence[str]) -> Iterable[tuple[str, Exception]]:
        """See `Driver.delete_many`."""
        failures: list[tuple[str, Exception]] = []
        for path in paths:
            if not path.partition("/")[2]:
                continue
            try:
                self.delete_one(path)
            except AccessDeniedError as error:
                failures.append((path, error))
        return failures
