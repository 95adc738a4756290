"""Listings, page by page; the next page is on its way while one is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from mox_core.storage.driver import ObjectInfo
from mox_core.storage.retry import Retry

from .client import Answer, WireError
from .connection import ProtocolError
from .exchange import Exchange
from .replies import Listing, next_token, parse_listing
from .request import Request

__all__ = ["list_pages"]


def list_pages(
    prefix: str,
    *,
    exchange: Exchange,
    retry: Retry,
    by_token: bool,
    recursive: bool,
    limit: int,
    page_size: int,
) -> Iterator[Sequence[ObjectInfo]]:
    """See `Driver.list`.

    Args:
        prefix: `bucket/` or `bucket/key-prefix`.
        exchange: Asks the store.
        retry: How to retry a page.
        by_token: Whether pages follow by continuation token (version 2 of the request), else by
            marker.
        recursive: All levels, or one.
        limit: Stop after this many entries (0: all).
        page_size: Most entries of a page.
    """
    bucket, _, key = prefix.partition("/")
    size = min(page_size, limit or 1000, 1000)
    query: dict[str, str | None] = {"encoding-type": "url", "max-keys": str(size), "prefix": key}
    if not recursive:
        query["delimiter"] = "/"
    if by_token:
        query["list-type"] = "2"
    position = "continuation-token" if by_token else "marker"

    def request(start: str) -> Request:
        return Request("GET", bucket, query={**query, position: start} if start else query)

    sent: list[Answer] = []

    def read(start: str) -> Listing:
        """One page; the request for the next one is sent before this one is parsed."""

        def ask() -> Answer:
            with sent.pop() if sent else exchange.client.send(request(start)) as answer:
                answer.read()
            return answer

        body = exchange.answer(prefix, ask).body
        token = next_token(body) if by_token and not limit else ""
        if token:
            with suppress(WireError):  # then it is sent when it is due
                sent.append(exchange.client.send(request(token)))
        page = None
        try:
            page = exchange.understand(prefix, lambda: parse_listing(body, bucket=bucket))
        finally:
            if sent and (page is None or page.next != token):
                sent.pop().close()
        return page

    count = 0
    start = ""
    try:
        while True:
            page = retry.call(read, start)
            if page.entries:
                yield page.entries
            count += len(page.entries)
            if not page.next or 0 < limit <= count:
                return
            if page.next == start:
                error = ProtocolError("the listing does not get any further")
                raise exchange.failed(prefix, error)
            start = page.next
    finally:
        for answer in sent:
            answer.close()
