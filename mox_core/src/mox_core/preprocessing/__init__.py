"""What is done to an image before a network sees it, described once for all engines.

`families.py` says, as lists of steps with numbers, what the five families of preprocessing do;
`numpy_lowering.py` does it to NumPy images, an engine's package to its own tensors.
"""

from __future__ import annotations

from mox_core.preprocessing.augmentation import Augmentation, get_augmentation
from mox_core.preprocessing.functions import get_data_augmentation_fn
from mox_core.preprocessing.keys import PreprocessingKeys

__all__ = ["Augmentation", "PreprocessingKeys", "get_augmentation", "get_data_augmentation_fn"]
