"""A zoo of Jacobians, one row per task, on which theorems about weightings are tried.

Its kinds, shapes, ranks and scales are those on which TorchJD tries its aggregators. A matrix A is strongly stationary
if v A = 0 for some v > 0, weakly if for some v >= 0 other than 0.
"""

import equinox as eqx
import jax
import numpy as np

SCALES = (1e-10, 1e3, 1e5, 1e10, 1e15)


def _orthonormal(rng, rows, columns, complement_of=None):
    drawn = rng.standard_normal((rows, columns))
    if complement_of is not None:
        drawn -= complement_of @ (complement_of.T @ drawn)
    return np.linalg.qr(drawn)[0]


def _with_left_vectors(rng, left, columns):
    values = np.abs(rng.standard_normal(left.shape[1]))
    return left @ np.diag(values) @ _orthonormal(rng, columns, left.shape[1]).T


def normal(rng, rows, columns, rank):
    return _with_left_vectors(rng, _orthonormal(rng, rows, rank), columns)


def strongly_stationary(rng, rows, columns, rank):
    v = np.abs(rng.standard_normal((rows, 1)))
    v /= np.linalg.norm(v)
    return _with_left_vectors(rng, _orthonormal(rng, rows, rank, v), columns)


def only_weakly_stationary(rng, rows, columns, rank):
    u, order, cut = np.abs(rng.standard_normal(rows)), rng.permutation(rows), rng.integers(1, rows)
    pair = np.zeros((rows, 2))
    pair[order[:cut], 0], pair[order[cut:], 1] = u[order[:cut]], u[order[cut:]]
    pair /= np.linalg.norm(pair, axis=0, keepdims=True)
    left = np.hstack([pair[:, 1:], _orthonormal(rng, rows, rank - 1, pair)]) if rank > 1 else pair[:, 1:]
    return _with_left_vectors(rng, left, columns)


def not_stationary(rng, rows, columns, rank):
    u = np.abs(rng.standard_normal((rows, 1)))
    u /= np.linalg.norm(u)
    left = np.hstack([u, _orthonormal(rng, rows, rank - 1, u)]) if rank > 1 else u
    return _with_left_vectors(rng, left, columns)


def _build():
    rng = np.random.default_rng(0)
    zoo = {}
    for shape in [(1, 1, 1), (4, 3, 1), (4, 3, 2), (4, 3, 3), (9, 11, 5), (9, 11, 9)]:
        matrix = normal(rng, *shape)
        zoo[f"normal {shape}"] = matrix
        zoo |= {f"normal {shape} times {scale:g}": scale * matrix for scale in SCALES}
    zoo |= {f"zero {shape}": np.zeros(shape) for shape in [(1, 1), (4, 3), (9, 11)]}
    for kind in (strongly_stationary, only_weakly_stationary, not_stationary):
        for shape in [(20, 10, 10), (20, 10, 5), (20, 10, 1), (20, 100, 1), (20, 100, 19)]:
            zoo[f"{kind.__name__} {shape}"] = kind(rng, *shape)
    zoo["orthogonal"] = np.diag([1.0, 2.0, 0.5, 1.0])
    zoo["opposite"] = np.array([[1.0, 0.0], [-1.0, 0.0]])
    zoo["conflicting"] = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    zoo["a task drawn twice"] = np.array([[1.0, 2.0], [1.0, 2.0], [-3.0, 1.0], [0.5, 1.0]])
    zoo["one row zero"] = np.array([[1.0, 2.0], [0.0, 0.0], [-3.0, 1.0], [0.5, 1.0]])
    zoo["agreeing"] = np.abs(rng.standard_normal((4, 7)))
    return zoo


ZOO = _build()


def weigh(weighting, matrix, *, losses=None, index=None, state=None, seed=0, key=None, dtype=np.float64):
    """The weighting's answer to a Jacobian, in this precision."""
    tasks = matrix.shape[0]
    gramian = np.asarray(matrix, np.float64) @ np.asarray(matrix, np.float64).T
    losses = np.linspace(0.5, 2.0, tasks) if losses is None else np.asarray(losses)
    index = np.arange(tasks) if index is None else np.asarray(index)
    state = weighting.init(int(index.max()) + 1) if state is None else state
    key = jax.random.key(seed) if key is None else key
    return _weigh(weighting, losses.astype(dtype), gramian.astype(dtype), index, state, key)


@eqx.filter_jit
def _weigh(weighting, losses, gramian, index, state, key):
    return weighting.weigh(losses, gramian if weighting.needs_gramian else None, index, state, key=key)
