"""get_data_augmentation_fn: preprocessing as a function of one NumPy image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mox_core.preprocessing.augmentation import Augmentation, get_augmentation

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DataAugmentationFn", "get_data_augmentation_fn"]


class DataAugmentationFn:
    """Preprocessing as a function; can be pickled, and used by several threads at once.

    Args:
        augmentation: what it does.
        seed: of its random numbers; None: others in every process and run.
    """

    def __init__(self, augmentation: Augmentation, seed: int | None = None) -> None:
        self.augmentation = augmentation
        self.seed = seed
        self._done = 0

    def __call__(self, image: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        """Returns the image as the network wants it.

        Args:
            image: height x width x channels, uint8 from 0 to 255.
            rng: takes the random numbers from here. Without it, they go on from call to call; a
                reader that works in several threads or processes passes one for each image, made
                of the image's number.

        Returns:
            float32, `output_height` x `output_width` x channels.

        Raises:
            SpecError: it is no image, or too small for what is done to it.
        """
        import numpy as np

        from mox_core.preprocessing.numpy_lowering import apply

        if rng is None:
            entropy = None if self.seed is None else (self.seed, self._done)
            self._done += 1
            rng = np.random.default_rng(entropy)
        return apply(self.augmentation, image, rng)

    def __repr__(self) -> str:
        return f"DataAugmentationFn({self.augmentation!r}, seed={self.seed!r})"


def get_data_augmentation_fn(
    name: str,
    run_mode: str,
    output_height: int | None = None,
    output_width: int | None = None,
    *,
    seed: int | None = None,
    **options: Any,
) -> DataAugmentationFn:
    """Returns what a network's images are preprocessed with (manual 004, section 2).

        augment = mox.get_data_augmentation_fn("resnet_v1_50", mox.ModeKeys.TRAIN)
        image = augment(image)  # uint8 [height, width, 3] -> float32 [224, 224, 3]

    In mode TRAIN the image is cut, mirrored and coloured at random; in the others it is only
    resized and scaled, always in the same way.

    Args:
        name: one of `PreprocessingKeys`: a network's name.
        run_mode: TRAIN, or another one.
        output_height: of the result; None: the network's usual one.
        output_width: of the result; None: the network's usual one.
        seed: makes the random numbers the same in every run.
        **options: of the family that the name belongs to. vgg: `resize_side_min`,
            `resize_side_max`; inception: `bbox` ([top, left, bottom, right] of objects, as
            fractions), `fast_mode` (False: more colours and ways to resize), `crop_image`,
            `use_grayscale`; cifarnet: `padding`, `use_grayscale`.

    Raises:
        SpecError: the name, the mode or an option is not known or does not fit; a ValueError too.
    """
    augmentation = get_augmentation(name, run_mode, output_height, output_width, **options)
    return DataAugmentationFn(augmentation, seed)
