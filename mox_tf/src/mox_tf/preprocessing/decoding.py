"""Images that are still the contents of their files."""

from __future__ import annotations

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
    start = tf.strings.substr(content, 0, 2)
    # The operation for JPEG knows PNG as well.
    image = tf.cond(
        tf.reduce_any(tf.equal(start, [b"BM", b"GI", b"RI"])),
        lambda: tf.io.decode_image(content, channels, expand_animations=False),
        lambda: tf.io.decode_jpeg(content, channels, **_EXACT),
    )
    image.set_shape([None, None, channels])
    return image


class Encoded:
    """An image in a file, of which a part can be decoded alone.

    Args:
        content: scalar string.
        channels: of the image.
    """

    def __init__(self, content: Any, channels: int) -> None:
        self.content = content
        self.channels = channels
        self._is_jpeg = tf.io.is_jpeg(content)

    def shape(self) -> tuple[Any, Any]:
        """Height and width, int32, from the file's head."""
        shape = tf.cond(
            self._is_jpeg,
            lambda: tf.io.extract_jpeg_shape(self.content),
            lambda: tf.shape(decode(self.content, self.channels)),
        )
        return shape[0], shape[1]

    def pixels(self) -> Any:
        """The whole image, uint8."""
        return decode(self.content, self.channels)

    def window(self, top: Any, left: Any, height: Any, width: Any) -> Any:
        """A part of the image, uint8."""
        window = tf.cond(
            self._is_jpeg,
            lambda: tf.image.decode_and_crop_jpeg(
                self.content, tf.stack([top, left, height, width]), self.channels, **_EXACT
            ),
            lambda: tf.slice(
                self.pixels(), tf.stack([top, left, 0]), tf.stack([height, width, -1])
            ),
        )
        window.set_shape([None, None, self.channels])
        return window
