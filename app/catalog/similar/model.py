"""A matrix with a row per product, made once, before the workers are forked.

Its numbers stand in for a trained model: they depend on the row alone, so that every process and every host
has the same. What it shows is real: hundreds of megabytes that four workers share, as nothing writes to them.
"""

import gc

import numpy as np
from numpy.typing import NDArray

_DIMENSIONS = 256
_ROW = 4 * _DIMENSIONS
_BLOCK = 16_384


class Model:
    """Vectors of length one; the product of two of them says how alike they are."""

    def __init__(self, megabytes: int) -> None:
        rows = megabytes * 1024 * 1024 // _ROW
        self._matrix: NDArray[np.float32] = np.empty((rows, _DIMENSIONS), dtype=np.float32)
        random = np.random.default_rng(0)
        # Block by block: no second copy of a gigabyte on the way.
        for begin in range(0, rows, _BLOCK):
            block = self._matrix[begin : begin + _BLOCK]
            random.random(dtype=np.float32, out=block)
            block -= 0.5
            block /= np.linalg.norm(block, axis=1, keepdims=True)
        # Whoever would write to it by mistake would give each worker a copy of its own.
        self._matrix.flags.writeable = False

    @property
    def megabytes(self) -> int:
        """Return how large it is."""
        return self._matrix.nbytes // 1024 // 1024

    def like(self, product_id: int, count: int) -> list[tuple[int, float]]:
        """Return the ids most like a product, and how much; none if it is not in the model."""
        if not 1 <= product_id <= len(self._matrix):
            return []
        scores = self._matrix @ self._matrix[product_id - 1]
        scores[product_id - 1] = -2
        best = np.argpartition(scores, -count)[-count:] if count < len(scores) else np.arange(len(scores))
        ordered = best[np.argsort(scores[best])[::-1]]
        return [(int(row) + 1, float(scores[row])) for row in ordered]


def load(megabytes: int) -> Model:
    """Make the model, and put all that there is by now out of the garbage collector's reach.

    It would write a mark into every object at its first run after the fork, and so copy what is shared.
    """
    model = Model(megabytes)
    gc.collect()
    gc.freeze()
    return model
