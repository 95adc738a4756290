"""Makes `digits/`: scikit-learn's 1,797 real handwritten digits in MNIST's format.

    python -m pip install scikit-learn
    python examples/data/make_digits.py

Only needed to make the files anew; they are part of the repository. The same input gives the same
images: nothing is drawn at random.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

SIZE = 28  # of MNIST's images, so that its scripts (784 inputs) run on these unchanged
BOX = 20  # MNIST's digits fill a box of 20 x 20 in the middle
GREY_STEP = 17  # 16 grey levels, as many as the source has; halves the files


def enlarge(images: np.ndarray) -> np.ndarray:
    """Enlarges 8 x 8 images of values 0..16 to 28 x 28 of values 0..255, bilinearly."""
    source = images.shape[1]
    centers = (np.arange(BOX) + 0.5) * source / BOX - 0.5
    weights = np.maximum(0, 1 - np.abs(centers[:, None] - np.arange(source)))
    box = np.einsum("ai,nij,bj->nab", weights, images, weights) * 255 / 16
    margin = (SIZE - BOX) // 2
    grey = (np.rint(box / GREY_STEP) * GREY_STEP).astype(np.uint8)
    return np.pad(grey, ((0, 0), (margin, margin), (margin, margin)))


def write_idx(path: Path, values: np.ndarray) -> None:
    """Writes a uint8 array as a gzipped IDX file."""
    header = struct.pack(">HBB", 0, 0x08, values.ndim) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), 9, mtime=0))


def main() -> None:
    """Writes the four files; every fifth image goes to the test set."""
    digits = load_digits()
    images = enlarge(digits.images)
    is_test = np.arange(len(images)) % 5 == 4
    folder = Path(__file__).parent / "digits"
    folder.mkdir(exist_ok=True)
    for name, chosen in (("train", ~is_test), ("t10k", is_test)):
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", images[chosen])
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", digits.target[chosen])
        print(f"{name}: {chosen.sum()} images")


if __name__ == "__main__":
    main()
