"""Draws flowers: folders of small images to train on where there are no photographs."""

from __future__ import annotations

import math
import random
from pathlib import Path

import cv2
import numpy as np

KINDS = {  # petals, their shape, colour (red, green, blue)
    "daisy": (12, "thin", (240, 240, 245)),
    "poppy": (4, "round", (215, 45, 35)),
    "tulip": (3, "pointed", (225, 90, 150)),
    "sunflower": (16, "pointed", (240, 195, 30)),
    "bluebell": (5, "round", (90, 100, 215)),
    "buttercup": (5, "round", (250, 220, 60)),
}
_WIDTHS = {"thin": 0.16, "round": 0.55, "pointed": 0.3}


def draw(kind, chance, size=36):
    """Returns one flower, uint8 [size, size, 3]: its place, size, turn and light are random."""
    petals, shape, colour = KINDS[kind]
    green = [chance.randint(20, 70), chance.randint(70, 130), chance.randint(20, 60)]
    image = np.full((size, size, 3), green, np.uint8)
    image[size // 2 :] = (image[size // 2 :] * 0.8).astype(np.uint8)
    radius = size * chance.uniform(0.26, 0.4)
    centre = [size / 2 + chance.uniform(-0.1, 0.1) * size for _ in range(2)]
    light = chance.uniform(0.75, 1.1)
    colour = [min(255, part * light) for part in colour]
    turn = chance.uniform(0, 360)
    for number in range(petals):
        angle = turn + 360 * number / petals
        middle = [
            round(at + radius * 0.55 * step(math.radians(angle)))
            for at, step in zip(centre, (math.cos, math.sin), strict=True)
        ]
        axes = (round(radius * 0.5), max(2, round(radius * _WIDTHS[shape])))
        cv2.ellipse(image, middle, axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
    middle = [round(at) for at in centre]
    cv2.circle(image, middle, round(radius * 0.25), (120 * light, 85 * light, 30), -1, cv2.LINE_AA)
    noise = np.random.default_rng(chance.getrandbits(32)).normal(0, 6, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def write(folder, kinds, count, seed=0):
    """Writes `count` images of each kind as `folder/<kind>/<number>.jpg`; returns the folder."""
    chance = random.Random(seed)
    for kind in kinds:
        (Path(folder) / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = Path(folder) / kind / f"{number}.jpg"
            cv2.imwrite(str(path), draw(kind, chance)[..., ::-1])
    return str(folder)
