"""Errors of `mox.file` and of storage drivers.

The four public exceptions are those of the MoXing manual, with the built-in base classes that
existing scripts catch. A driver raises them, or one of the subclasses that tell the core what it
may do next: retry (TransientError), start afresh (ChangedError), give up (anything else).
"""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

from mox_core.errors import MoxError

__all__ = [
    "AccessDeniedError",
    "ChangedError",
    "CopyError",
    "MoxFileNameDuplicateException",
    "MoxFileNotExistsException",
    "MoxFileReadException",
    "MoxFileRespException",
    "Resp",
    "TransientError",
    "UnsupportedError",
]


class Resp(NamedTuple):
    """What the server answered. The camel-case names are those that MoXing's users read.

    Attributes:
        status: HTTP status, 0 when there was no answer.
        errorCode: the server's error code, such as `NoSuchBucket`.
        errorMessage: the server's own words.
        requestId: the server's name of the request, for its support desk.
    """

    status: int = 0
    errorCode: str = ""
    errorMessage: str = ""
    requestId: str = ""


def _rebuild(cls: type[Any], message: str, state: dict[str, Any]) -> Any:
    error = cls(message)
    error.__dict__.update(state)
    return error


class _FileError(MoxError):
    """Keeps the message and the response through pickling (copies may run in processes)."""

    def __init__(self, message: str = "", *, resp: Resp | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.resp = resp

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.__dict__)


class MoxFileNotExistsException(_FileError, FileNotFoundError):  # noqa: N818
    """A file, a directory or a bucket does not exist."""

    def __init__(self, message: str = "", *, resp: Resp | None = None) -> None:
        super().__init__(message, resp=resp)
        self.errno = errno.ENOENT


class MoxFileNameDuplicateException(_FileError):  # noqa: N818
    """A file and a directory would have the same name at the destination."""


class _MoxFileBaseRespException(_FileError, RuntimeError):  # noqa: N818
    """Base of the errors that carry a response in `.resp`."""


class MoxFileReadException(_MoxFileBaseRespException):
    """The content that arrived is not the content that the server promised."""


class MoxFileRespException(_MoxFileBaseRespException):
    """The server refused a request, or did not answer."""


class TransientError(MoxFileRespException):
    """The same request may succeed later: connection, timeout, 5xx, 429, a body cut short.

    Attributes:
        retry_after: seconds that the server asked to wait, 0 when it did not say.
    """

    retry_after: float = 0.0


class AccessDeniedError(MoxFileRespException, PermissionError):
    """The credentials do not allow this (401, 403), or a local permission is missing."""


class ChangedError(MoxFileRespException):
    """The object is no longer the one that was asked for (ETag, append position)."""


class UnsupportedError(MoxFileRespException):
    """The store cannot do this at all."""


class CopyError(MoxFileRespException):
    """Some files of a copy failed; the others were copied.

    Attributes:
        failures: (source URL, destination URL, exception) of every file that failed.
    """

    failures: list[tuple[str, str, BaseException]]

    @classmethod
    def of(cls, what: str, failures: list[tuple[str, str, BaseException]]) -> CopyError:
        """Lists the failures, one a line; of very many the first hundred."""
        lines = [
            f"  {source}{f' -> {target}' if target else ''}: {type(error).__name__}: {error}"
            for source, target, error in failures[:100]
        ]
        if len(failures) > len(lines):
            lines.append(f"  ... and {len(failures) - len(lines)} more: see .failures")
        count = "1 file" if len(failures) == 1 else f"{len(failures)} files"
        self = cls(f"{what} {count}:\n" + "\n".join(lines))
        self.failures = failures
        self.resp = next((r for _, _, e in failures if (r := getattr(e, "resp", None))), None)
        self.__cause__ = failures[0][2]
        return self
