"""The learning-rate strings of MoXing: `5:0.1->0.4,10:0.4=>0.8,15:0.8,20:0.08`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from mox_core.errors import SpecError
from mox_core.optim.ops import Ops, python_ops
from mox_core.optim.schedules import Schedule

__all__ = ["Piecewise", "Segment", "piecewise_lr"]

_LINEAR = "->"
_EXPONENTIAL = "=>"


@dataclass(frozen=True)
class Segment:
    """A stretch of steps over which the learning rate moves from one value to another.

    Attributes:
        first_step: where the segment begins; need not be a whole number.
        last_step: where the next one begins.
        first: learning rate at `first_step`.
        last: learning rate at `last_step`; equal to `first` in a constant segment.
        exponential: whether equal steps mean equal factors instead of equal differences.
    """

    first_step: float
    last_step: float
    first: float
    last: float
    exponential: bool = False

    def evaluate(self, step: Any, ops: Ops) -> Any:
        """Return the learning rate at a step; outside of the segment that of its nearer end."""
        if self.first == self.last:
            return ops.to_float(self.first)
        done = (step - self.first_step) / (self.last_step - self.first_step)
        done = ops.minimum(ops.maximum(done, 0.0), 1.0)
        if self.exponential:
            return self.first * ops.power(self.last / self.first, done)
        return self.first + (self.last - self.first) * done


@dataclass(frozen=True)
class Piecewise(Schedule):
    """Segments one after the other; the end of the last one holds for ever."""

    segments: tuple[Segment, ...]

    def evaluate(self, step: Any, ops: Ops = python_ops) -> Any:
        """Return the learning rate at a step."""
        step = ops.to_float(step)
        *earlier, last = self.segments
        value = last.evaluate(step, ops)
        for segment in reversed(earlier):
            value = ops.where(ops.less(step, segment.last_step), segment.evaluate(step, ops), value)
        return value


def piecewise_lr(lr_strategy: str, num_samples: float, global_batch_size: float) -> Schedule:
    """Return the schedule that a MoXing learning-rate string describes.

    The string is a list of `bound:value`, separated by commas. A segment reaches from the bound
    before it (0 for the first) up to its own bound, in epochs. Its value is `a`, constant;
    `a->b`, a straight line; or `a=>b`, exponential. The last value holds after the last bound.

    Args:
        lr_strategy: such as `"5:0.1->0.4,10:0.4=>0.8,15:0.8,20:0.08"`.
        num_samples: samples in an epoch.
        global_batch_size: samples in a step, over all towers and workers.

    Raises:
        SpecError: the string is malformed (the message points at the place), or a size is not
            greater than 0.

    Source: the MoXing TensorFlow manual, learning_rate_scheduler.piecewise_lr.
    """
    for name, size in (("num_samples", num_samples), ("global_batch_size", global_batch_size)):
        if not isinstance(size, int | float) or not 0 < size < math.inf:
            raise SpecError(f"piecewise_lr: {name} must be a number greater than 0, not {size!r}")
    if not isinstance(lr_strategy, str):
        raise SpecError(f"piecewise_lr: lr_strategy must be a string, not {lr_strategy!r}")
    steps_per_epoch = num_samples / global_batch_size
    segments = tuple(
        Segment(
            begin * steps_per_epoch, end * steps_per_epoch, first, last, exponential=exponential
        )
        for begin, end, first, last, exponential in _Parser(lr_strategy).segments()
    )
    return Piecewise(segments)


class _Parser:
    """Reads a string, knowing where every part of it stands, to point at it in errors."""

    def __init__(self, text: str) -> None:
        self._text = text

    def segments(self) -> Iterator[tuple[float, float, float, float, bool]]:
        """Yield begin and end in epochs, the values there, and whether it is exponential."""
        begin = 0.0
        at = 0
        for part in self._text.split(","):
            bound_text, colon, value_text = part.partition(":")
            if not colon:
                self._fail("expected 'epoch:learning rate', such as '10:0.01'", at, part)
            end = self._number(bound_text, at, "the epoch where the segment ends")
            if end <= begin:
                self._fail(f"the epoch must be greater than {begin:g}", at, bound_text)
            value_at = at + len(bound_text) + 1
            yield (begin, end, *self._value(value_text, value_at))
            begin = end
            at += len(part) + 1

    def _value(self, text: str, at: int) -> tuple[float, float, bool]:
        for arrow in (_LINEAR, _EXPONENTIAL):
            first_text, found, last_text = text.partition(arrow)
            if found:
                last_at = at + len(first_text) + len(arrow)
                first = self._number(first_text, at, "a learning rate")
                last = self._number(last_text, last_at, "a learning rate")
                if arrow == _EXPONENTIAL and 0 in (first, last):
                    self._fail("exponential change ('=>') needs values above 0", at, text)
                return first, last, arrow == _EXPONENTIAL
        value = self._number(text, at, "a learning rate, 'a->b' (linear) or 'a=>b' (exponential)")
        return value, value, False

    def _number(self, text: str, at: int, expected: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            self._fail(f"expected {expected}", at, text)
        return number

    def _fail(self, problem: str, at: int, part: str) -> NoReturn:
        at += len(part) - len(part.lstrip())
        shown = "".join(letter if letter.isprintable() else " " for letter in self._text)
        marks = "^" * max(len(part.strip()), 1)
        raise SpecError(f"piecewise_lr: {problem}\n  {shown}\n  {' ' * at}{marks}")
