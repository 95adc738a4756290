"""Requests and answers, with what goes wrong told in the exceptions of the driver contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from mox_core.storage.driver import Body
from mox_core.storage.errors import MoxFileRespException, Resp, TransientError

from .client import Answer, Client, WireError
from .connection import ProtocolError, SourceChangedError
from .refusals import UnexpectedAnswerError, failure, is_unexpected, refusal
from .replies import parse
from .request import Request

__all__ = ["Exchange"]

_T = TypeVar("_T")


class Exchange:
    """Asks one store; anything but success raises, with a message about the path in question.

    Args:
        client: Sends the requests.
        url: The URL of a path, for messages.
        prefix: 'x-amz-' or 'x-obs-'.
    """

    def __init__(self, client: Client, *, url: Callable[[str], str], prefix: str) -> None:
        self.client = client
        self._url = url
        self._prefix = prefix

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        payload_sha256: str | None = None,
        timeout: float | None = None,
        about: str = "",
    ) -> Answer:
        """Send a request for a path; messages are about `about`, or that path."""
        bucket, _, key = path.partition("/")
        request = Request(
            method,
            bucket,
            key,
            query=query or {},
            headers=headers or {},
            body=body,
            payload_sha256=payload_sha256,
            idempotent=not (query and "append" in query),
            timeout=timeout,
        )
        return self.answer(about or path, lambda: self.client.exchange(request))

    def answer(self, path: str, read: Callable[[], Answer]) -> Answer:
        """Read an answer, which has to be a success."""
        try:
            answer = read()
        except WireError as error:
            raise self.failed(path, error.reason) from error
        except SourceChangedError as error:
            raise MoxFileRespException(f"{self._url(path)} was not written: {error}") from error
        if 200 <= answer.status < 300:
            return answer
        raise self.refused(path, answer)

    def understand(self, path: str, read: Callable[[], _T]) -> _T:
        """Read what an answer holds."""
        try:
            return read()
        except ProtocolError as error:
            raise self.failed(path, error) from error

    def failed(self, path: str, error: OSError, *, began: bool = False) -> Exception:
        """The exception for no answer, or one that is not understood.

        Args:
            path: What the request was about.
            error: What went wrong.
            began: Whether some of the answer was used already: then nobody else can be asked.
        """
        url = self._url(path)
        if isinstance(error, ProtocolError) and not began:
            return UnexpectedAnswerError(f"{url}: {error}")
        return failure(url, self.client.endpoint.origin, error)

    def refused(self, path: str, answer: Answer) -> Exception:
        """The exception for an answer that is an error."""
        headers, prefix = answer.headers, self._prefix
        code = headers.get(f"{prefix}error-code", "")
        message = headers.get(f"{prefix}error-message", "")
        request_id = headers.get(f"{prefix}request-id", "")
        try:
            root = parse(answer.body)
            code, message = root.findtext("Code", code), root.findtext("Message", message)
        except ProtocolError:
            pass  # HEAD, a proxy's HTML page, ...
        resp = Resp(answer.status, code, message, request_id)
        if is_unexpected(resp):
            return UnexpectedAnswerError(f"{self._url(path)}: {answer.status} {code}", resp=resp)
        error = refusal(self._url(path), resp, retry_after=headers.get("retry-after", ""))
        if code == "RequestTimeTooSkewed" and self.client.correct_clock(headers):
            return TransientError(str(error), resp=resp)
        return error
