"""Images that are still the contents of their files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mox_tf.tf1 import tf

__all__ = ["Encoded", "decode"]

# The default of TensorFlow differs by some levels from all other decoders.
_EXACT = {"dct_method": "INTEGER_ACCURATE"}


def decode(content: Any, channels: int = 3) -> Any:
    """Decodes an image file to uint8 [height, width, channels]; of an animation, the first picture.

    JPEG, PNG, BMP, GIF, and in recent versions of TensorFlow WebP. Pixels are as they are stored:
    the orientation in a camera's notes is not applied, as everywhere in TensorFlow.
    """
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels, **_EXACT),
        lambda: tf.io.decode_image(content, channels, expand_animations=False),
    )
    image.set_shape([None, None, channels])
    return image


class Encoded:
    """An image in a file; like `lowering.Decoded`.

    Args:
        content: scalar string.
        channels: of the image.
    """

    def __init__(self, content: Any, channels: int) -> None:
        self._content = content
        self._channels = channels

    def cut(self, how: Callable[[Any], Any]) -> Any:
        """What `how` makes of this image; of a JPEG, no more is decoded than the window."""
        from mox_tf.preprocessing.lowering import Decoded

        return tf.cond(
            tf.io.is_jpeg(self._content),
            lambda: how(_Jpeg(self._content, self._channels)),
            lambda: how(Decoded(self.pixels())),
        )

    def pixels(self) -> Any:
        """The whole image, uint8."""
        return decode(self._content, self._channels)


class _Jpeg:
    """A JPEG file, of which a window can be decoded alone."""

    def __init__(self, content: Any, channels: int) -> None:
        self._content = content
        self._channels = channels

    def shape(self) -> tuple[Any, Any]:
        """Height and width, int32, from the file's head."""
        shape = tf.io.extract_jpeg_shape(self._content)
        return shape[0], shape[1]

    def window(self, top: Any, left: Any, height: Any, width: Any) -> Any:
        """A part of the image, uint8."""
        window = tf.image.decode_and_crop_jpeg(
            self._content, tf.stack([top, left, height, width]), self._channels, **_EXACT
        )
        window.set_shape([None, None, self._channels])
        return window
