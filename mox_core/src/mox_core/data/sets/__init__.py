"""The data sets that mox knows by name: a plugin of the group `mox.datasets`.

What a data set needs is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mox_core.plugins import hookimpl

if TYPE_CHECKING:
    from mox_core.data.provider import DatasetProvider

__all__ = ["mox_dataset"]


@hookimpl
def mox_dataset(name: str) -> DatasetProvider | None:
    """Provides mnist, cifar10, cifar100, flowers and imagenet."""
    if name == "mnist":
        from mox_core.data.sets.mnist import Mnist

        return Mnist()
    if name in ("cifar10", "cifar100"):
        from mox_core.data.sets.cifar import Cifar

        return Cifar(int(name.removeprefix("cifar")))
    from mox_core.data.sets import slim

    return {"flowers": slim.FLOWERS, "imagenet": slim.IMAGENET}.get(name)
