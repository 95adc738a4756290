"""HTTP dates, in English whatever the locale, without the weight of the email package."""

from __future__ import annotations

import re
import time
from functools import lru_cache

__all__ = ["day_seconds", "http_date", "http_time_ns"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_DATE = re.compile(
    r"[A-Za-z]{3,9}, ([0-3]?\d)[ -]([A-Z][a-z]{2})[ -](\d{4}) (\d\d):(\d\d):(\d\d) GMT"
)


def http_date(seconds: float) -> str:
    """`Fri, 20 Nov 2026 10:11:12 GMT`."""
    t = time.gmtime(seconds)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{day}, {t.tm_mday:02} {month} {t.tm_year} {clock} GMT"


@lru_cache(maxsize=256)
def http_time_ns(text: str) -> int:
    """Nanoseconds since the epoch of an HTTP date, 0 when it is not one."""
    found = _DATE.fullmatch(text)
    if found is None or found[2] not in _MONTHS:
        return 0
    day = day_seconds(int(found[3]), _MONTHS.index(found[2]) + 1, int(found[1]))
    return (day + int(found[4]) * 3600 + int(found[5]) * 60 + int(found[6])) * 1_000_000_000


@lru_cache(maxsize=64)
def day_seconds(year: int, month: int, day: int) -> int:
    """Seconds since the epoch at the start of a day in UTC, 0 for all days before."""
    # Years that begin in March: the leap day comes last.
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day
    return max(0, days - 719469) * 86400
