"""IDX files, the format of MNIST, gzipped or not.

Source: Y. LeCun, C. Cortes, C. Burges: The MNIST database, "File formats".
"""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import TYPE_CHECKING

from mox_core.errors import DataError
from mox_core.storage import api as file

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["read_idx"]

_UINT8 = 0x08
_GZIP = b"\x1f\x8b"


def read_idx(url: str, dimensions: int) -> npt.NDArray[np.uint8]:
    """Reads an IDX file of bytes.

    Args:
        url: local path or URL.
        dimensions: how many the array has to have.

    Raises:
        DataError: it is damaged, or something else.
        MoxFileNotExistsException: there is no such file.
    """
    import numpy as np

    content: bytes = file.read(url, binary=True)
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{url} cannot be unpacked: {error}. Download it again.") from None
    magic = bytes([0, 0, _UINT8, dimensions])
    if content[:4] != magic:
        raise DataError(
            f"{url} does not begin with the bytes {magic.hex(' ')} of an IDX file of {dimensions} "
            "dimensions.\n  Download it again; check that images and labels are not mixed up."
        )
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{url} ends after {len(content)} bytes. Download it again.")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    values = np.frombuffer(content, np.uint8)[header:]
    if values.size != np.prod(shape):
        raise DataError(
            f"{url} should hold {' x '.join(map(str, shape))} bytes and holds {values.size}.\n"
            "  Download it again."
        )
    return values.reshape(shape)
