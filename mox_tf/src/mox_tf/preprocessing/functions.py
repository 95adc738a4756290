"""get_data_augmentation_fn: preprocessing as a function of one image tensor."""

from __future__ import annotations

from typing import Any

from mox_core.errors import SpecError
from mox_core.preprocessing import Augmentation, get_augmentation
from mox_core.preprocessing.steps import Step
from mox_tf.preprocessing.decoding import Encoded
from mox_tf.preprocessing.lowering import Decoded, apply_steps
from mox_tf.tf1 import tf

__all__ = ["DataAugmentationFn", "get_data_augmentation_fn"]


class DataAugmentationFn:
    """Preprocessing as a function of a tensor.

    Args:
        augmentation: what it does.
        seed: of its random numbers; None: others in every run.
    """

    def __init__(self, augmentation: Augmentation, seed: int | None = None) -> None:
        self.augmentation = augmentation
        self.seed = seed

    def __call__(self, image: Any, seed: Any = None) -> Any:
        """Returns the image as the network wants it.

        Args:
            image: [height, width, channels]; uint8 from 0 to 255, or float32.
            seed: int32 [2], for this image; the same seed gives the same result. None: random
                numbers go on from image to image.

        Returns:
            float32, `output_height` x `output_width` x channels.

        Raises:
            SpecError: it is no image.
        """
        image = tf.convert_to_tensor(image)
        if image.shape.rank not in (None, 3):
            raise SpecError(
                f"preprocessing {self.augmentation.name!r} takes one image [height, width, "
                f"channels]; this has the shape {image.shape}.\n  Apply it before batching, or "
                "pass it to a data set as augmentation_fn."
            )
        if image.shape.rank is None:
            image.set_shape([None, None, None])
        largest = float(image.dtype.max) if image.dtype.is_integer else None
        return self._finished(self.augmentation.steps_for(largest), Decoded(image), seed)

    def decode(self, content: Any, seed: Any = None, channels: int = 3) -> Any:
        """The same of a file's content, of which no more is decoded than what is used.

        Args:
            content: scalar string: a JPEG, PNG, BMP or GIF file.
            seed: as above.
            channels: of the result, 3 or 1.
        """
        return self._finished(self.augmentation.steps_for(255.0), Encoded(content, channels), seed)

    def __repr__(self) -> str:
        return f"DataAugmentationFn({self.augmentation!r}, seed={self.seed!r})"

    def _finished(self, steps: tuple[Step, ...], image: Any, seed: Any) -> Any:
        with tf.name_scope("augmentation"):
            if seed is None:
                seed = tf.random_uniform([2], maxval=tf.int32.max, dtype=tf.int32, seed=self.seed)
            result = apply_steps(steps, image, seed)
            if result.dtype != tf.float32:
                result = tf.cast(result, tf.float32)
            result.set_shape([self.augmentation.height, self.augmentation.width, None])
        return result


def get_data_augmentation_fn(
    name: str,
    run_mode: str,
    output_height: int | None = None,
    output_width: int | None = None,
    *,
    seed: int | None = None,
    **options: Any,
) -> DataAugmentationFn:
    """Returns what a network's images are preprocessed with, as a function of a tensor.

        augment = mox.get_data_augmentation_fn("resnet_v1_50", mox.ModeKeys.TRAIN)
        image = augment(image)  # [height, width, 3] -> float32 [224, 224, 3]

    See `mox_core.get_data_augmentation_fn` for the arguments and what is done.

    Raises:
        SpecError: the name, the mode or an option is not known or does not fit; a ValueError too.
    """
    augmentation = get_augmentation(name, run_mode, output_height, output_width, **options)
    return DataAugmentationFn(augmentation, seed)
