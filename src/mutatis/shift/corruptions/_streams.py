"""One independent stream of random numbers per image, so that an image's draws never depend on its batch."""

import math
import zlib
from collections.abc import Callable

import numpy as np


class Streams:
    """Random arrays for a batch of images, `(n, *shape)`, row `i` a function of its position alone.

    A counter-based generator (Philox, Salmon et al. 2011) is keyed by the seed, the corruption's name and the
    severity; its 256-bit counter holds the image's position and the number of the draw in its high words,
    which leaves 2^128 numbers to each. Any subset of the images, in any batches, therefore sees the same
    numbers.
    """

    def __init__(self, positions: np.ndarray, *, seed: int, corruption: str, severity: int):
        words = np.random.SeedSequence([seed, zlib.crc32(corruption.encode()), severity])
        self._bits = np.random.Philox(key=words.generate_state(2, np.uint64))
        self._generator = np.random.Generator(self._bits)
        self._positions = np.asarray(positions, np.uint64)
        self._draws = 0

    def normal(self, *shape: int) -> np.ndarray:
        """Standard normal numbers, float32."""
        return self._fill(shape, np.float32, lambda rng, row: rng.standard_normal(dtype=np.float32, out=row))

    def uniform(self, *shape: int) -> np.ndarray:
        """Numbers uniform in [0, 1), float32."""
        return self._fill(shape, np.float32, lambda rng, row: rng.random(dtype=np.float32, out=row))

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Integers uniform in `low .. high - 1`, int64."""

        def draw(rng: np.random.Generator, row: np.ndarray) -> None:
            row[...] = rng.integers(low, high, row.shape)

        return self._fill(shape, np.int64, draw)

    def poisson(self, rates: np.ndarray) -> np.ndarray:
        """Poisson counts of the given rates `(n, *shape)`, float32."""
        counts = rates.astype(np.float32).reshape(len(rates), -1)

        def draw(rng: np.random.Generator, row: np.ndarray) -> None:
            row[...] = rng.poisson(row)

        return self._fill_rows(counts, draw).reshape(rates.shape)

    def _fill(self, shape: tuple[int, ...], dtype: type, draw: Callable) -> np.ndarray:
        rows = np.empty((len(self._positions), math.prod(shape)), dtype)
        return self._fill_rows(rows, draw).reshape(-1, *shape)

    def _fill_rows(self, rows: np.ndarray, draw: Callable) -> np.ndarray:
        state = self._bits.state
        state["buffer_pos"], state["has_uint32"] = 4, 0
        for row, position in zip(rows, self._positions, strict=True):
            state["state"]["counter"] = np.array([0, 0, position, self._draws], np.uint64)
            self._bits.state = state
            draw(self._generator, row)
        self._draws += 1
        return rows
