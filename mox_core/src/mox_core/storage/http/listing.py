"""Listings, page by page; the next page is on its way while one is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mox_core.storage.driver import ObjectInfo
from mox_core.storage.retry import Retry

from .client import Ahead
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
    early = by_token and not limit

    def request(start: str) -> Request:
        return Request("GET", bucket, query={**query, position: start} if start else query)

    def read(start: str, sent: Ahead | None) -> tuple[Listing, Ahead | None]:
        """One page; the request for the next one is sent before this one is parsed."""
        ask = sent.reply if sent else lambda: exchange.client.exchange(request(start))
        reply = exchange.answer(prefix, ask)
        token = next_token(reply.body) if early else ""
        following = exchange.client.ahead(request(token)) if token else None
        page = None
        try:
            page = exchange.understand(prefix, lambda: parse_listing(reply.body, bucket=bucket))
        finally:
            if following and (page is None or page.next != token):
                following.close()
                following = None
        return page, following

    count = 0
    start = ""
    sent: Ahead | None = None
    try:
        while True:
            page, sent = retry.call(read, start, sent)
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
        if sent:
            sent.close()
