"""Augmentation: the steps that one name asks for, in one mode, at one size."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from mox_core.errors import SpecError
from mox_core.preprocessing.families import FAMILIES
from mox_core.preprocessing.keys import PREPROCESSING
from mox_core.preprocessing.steps import Scale, Step, ToUnitRange
from mox_core.spec import ModeKeys

__all__ = ["Augmentation", "get_augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """What is done to each image.

    Args:
        name: what it was asked for by.
        height: of the result.
        width: of the result.
        steps: in their order.
    """

    name: str
    height: int
    width: int
    steps: tuple[Step, ...]

    def steps_for(self, largest: float | None) -> tuple[Step, ...]:
        """The steps for images of one type, with as few of them as possible.

        Args:
            largest: of the images' type, 255 for uint8; None: they are floats.
        """
        done: list[Step] = []
        for step in self.steps:
            if isinstance(step, ToUnitRange):
                if largest is None:
                    continue
                step = Scale((0.0,), 1 / largest)
            last = done[-1] if done else None
            if isinstance(step, Scale) and isinstance(last, Scale) and len(last.means) == 1:
                # (x - m) f, and of that (x - n) g, is (x - (m + n / f)) f g.
                means = tuple(last.means[0] + mean / last.factor for mean in step.means)
                done[-1] = Scale(means, last.factor * step.factor)
            else:
                done.append(step)
        return tuple(done)


def get_augmentation(
    name: str,
    run_mode: str,
    output_height: int | None = None,
    output_width: int | None = None,
    **options: Any,
) -> Augmentation:
    """Looks up what is done to each image; see `get_data_augmentation_fn`."""
    preprocessing = PREPROCESSING.get(name)
    if preprocessing is None:
        from mox_core.plugins.suggest import did_you_mean

        advice = did_you_mean(str(name), list(PREPROCESSING))
        raise SpecError(
            f"no preprocessing is known for {name!r}.{advice}\n  Known: {', '.join(PREPROCESSING)}."
        )
    mode = ModeKeys.EXPORT if run_mode == ModeKeys.EXPORT else ModeKeys.parse(run_mode)
    height = _size("output_height", output_height, preprocessing.size)
    width = _size("output_width", output_width, preprocessing.size)
    family = FAMILIES[preprocessing.family]
    _check_options(name, family, options)
    steps = family(mode == ModeKeys.TRAIN, height, width, **options)
    return Augmentation(name, height, width, steps)


def _size(argument: str, given: int | None, default: int) -> int:
    if given is None:
        return default
    if isinstance(given, bool) or not hasattr(given, "__index__") or int(given) < 1:
        raise SpecError(f"{argument} is {given!r}; it has to be a whole number above 0.")
    return int(given)


def _check_options(name: str, family: Any, options: dict[str, Any]) -> None:
    known = [
        parameter.name
        for parameter in inspect.signature(family).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise SpecError(
            f"get_data_augmentation_fn({name!r}) does not know the option {unknown[0]!r}.\n"
            f"  It knows: {', '.join(known) or 'none'}."
        )
