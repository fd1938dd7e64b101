"""Made-up characters of scikit-learn's digits: few-shot tasks that need no download."""

from typing import Any

import numpy as np
from jaxtyping import Float

from mutatis._data_files import optional
from mutatis.symmetry._episodes import Episodes

_SIDE = 8
_DIGITS = 10
_TRAIN = range(6), slice(0, 100)  # differences b - a, images of each digit
_VALIDATION = range(6, 8), slice(100, 137)
_TEST = range(8, 10), slice(137, 174)  # 174 is how many the rarest digit has

Glyphs = Float[np.ndarray, "classes drawers 8 8"]


def digit_glyphs() -> tuple[Glyphs, Glyphs, Glyphs]:
    """Characters to learn from, to choose by and to test: `float32 (classes, drawers, 8, 8)` in [0, 1] each.

    Ten digits are too few classes to learn from some and be tested on others. A glyph (a, b) is a digit a, upright, and
    a digit b, turned counter-clockwise by a quarter, in one square: the mean of their images. So ten digits make 100
    classes; the i-th drawer's is made of the i-th image of either digit. They are divided by (b - a) mod 10, so that
    every digit stands in every place equally often in every part, and no glyph and no image is in two parts:

    - train: the 60 glyphs of differences 0 to 5, with the first 100 images of each digit;
    - validation: the 20 of differences 6 and 7, with the next 37 images;
    - test: the 20 of differences 8 and 9, with the next 37 images.

    A learner must adapt, as the glyphs are new and their labels drawn anew for every task, and augmented queries are
    much harder than clean ones: for the nearest neighbour 73 % right become 40 % (5 classes, 1 shot, chance 20). Flips
    and turns by less than 45 degrees make no (a, b) a (b, a); but a 6 turned over on both axes looks like a 9, and a
    mirrored 2 like a 5, so nobody can be right on all of them.

    **Raises:** `ImportError` without the `studies` extra.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), the test part, as embedded
    in scikit-learn.
    """
    digits = optional("sklearn.datasets").load_digits()
    enough = _TEST[1].stop
    images = [(digits.images[digits.target == digit] / 16)[:enough] for digit in range(_DIGITS)]
    upright = np.stack(images).astype(np.float32)
    return _written(upright, *_TRAIN), _written(upright, *_VALIDATION), _written(upright, *_TEST)


def digit_episodes(**settings: Any) -> tuple[Episodes, Episodes, Episodes]:
    """`Episodes` of the glyphs to learn from, to choose by and to test.

    - `settings`: of `Episodes`, but `size`, which is 8 (`ways=5, shots=1, query_view=Augmentation()`, ...).

    Raises as `Episodes` and `digit_glyphs` do.
    """
    train, validation, test = (Episodes(images, size=_SIDE, **settings) for images in digit_glyphs())
    return train, validation, test


def _written(upright: np.ndarray, differences: range, drawers: slice) -> Glyphs:
    first, second = upright[:, drawers], np.rot90(upright[:, drawers], axes=(2, 3))
    return np.concatenate([(first + np.roll(second, -difference, axis=0)) / 2 for difference in differences])
