"""The causal transformer: against plain loops in numpy, and its answers do not depend on how a stream is cut."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mutatis import nn
from mutatis.nn._attention import Attention, Block, Cache
from mutatis.nn._ring import append_rows, row_numbers


@eqx.filter_jit
def stream(model, x, cache):
    return model.stream(x, cache)


@eqx.filter_jit
def independently(model, x, cache):
    return model.independently(x, cache)


def empty_cache(depth: int, capacity: int, heads: int, size: int, dtype=jnp.float64) -> Cache:
    zeros = jnp.zeros((depth, capacity, heads, size), dtype)
    return Cache(zeros, zeros, jnp.zeros((), jnp.int32))


def loud(make, *args, **kwargs):
    """What `make` would make, but with weights of order one, so that an error in any of them is seen."""
    rng = np.random.default_rng(3)
    draw = lambda leaf: jnp.asarray(0.4 * rng.normal(size=leaf.shape), leaf.dtype)
    shapes = eqx.filter_eval_shape(make, *args, **kwargs)
    return jax.tree.map(lambda leaf: draw(leaf) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf, shapes)


def classifier(**sizes) -> nn.InContextClassifier:
    sizes = {"width": 8, "depth": 2, "heads": 2, **sizes}

    def make():
        encoder = nn.mlp((3, 6, 5), key=jax.random.key(1), dtype=jnp.float64)
        return nn.InContextClassifier(encoder, 5, 4, key=jax.random.key(2), dtype=jnp.float64, **sizes)

    return loud(make)


def rows(number: int, seed: int = 0):
    return jax.random.normal(jax.random.key(seed), (number, 3), jnp.float64)


def naive_norm(x, layer):
    centred = x - x.mean()
    return centred / np.sqrt((centred**2).mean() + layer.eps) * np.asarray(layer.weight) + np.asarray(layer.bias)


def naive_block(block: Block, x: np.ndarray, window: int) -> np.ndarray:
    """One block, row by row and head by head."""
    linear = lambda layer, row: row @ np.asarray(layer.weight) + np.asarray(layer.bias)
    count, width = x.shape
    heads, size = block.attention.heads, width // block.attention.heads
    mixed = np.stack([linear(block.attention.project, naive_norm(row, block.attention_norm)) for row in x])
    query, key, value = np.split(mixed, 3, axis=1)
    out = []
    for i in range(count):
        seen = range(max(0, i - window), i + 1)
        answer = np.zeros(width)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = np.array([query[i, part] @ key[j, part] / np.sqrt(size) for j in seen])
            weights = np.exp(scores) / np.exp(scores).sum()
            answer[part] = sum(w * value[j, part] for w, j in zip(weights, seen, strict=True))
        after = x[i] + linear(block.attention.merge, answer)
        hidden = linear(block.expand, naive_norm(after, block.mlp_norm))
        gelu = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        out.append(after + linear(block.contract, gelu))
    return np.stack(out)


@pytest.mark.parametrize("capacity", [20, 4])
def test_a_model_agrees_with_loops_in_numpy(capacity):
    model, x = classifier(), rows(12)
    logits, _ = stream(model, x, model.empty_cache(capacity))

    hidden = np.asarray(model.encoder(x)) @ np.asarray(model.embed.weight) + np.asarray(model.embed.bias)
    for block in model.blocks:
        hidden = naive_block(block, hidden, capacity)
    hidden = np.stack([naive_norm(row, model.norm) for row in hidden])
    expected = hidden @ np.asarray(model.head.weight) + np.asarray(model.head.bias)
    np.testing.assert_allclose(logits, expected, rtol=1e-10, atol=1e-12)


def test_attention_is_that_of_jax():
    # In float32, in which jax.nn takes its softmax.
    attention = Attention(nn.Linear(12, 36, key=jax.random.key(0)), nn.Linear(12, 12, key=jax.random.key(1)), heads=3)
    x = jax.random.normal(jax.random.key(2), (7, 12), jnp.float32)
    cache = empty_cache(1, 9, 3, 4, jnp.float32)
    answer, key, value = attention(x, cache.keys[0], cache.values[0], cache.visible(7))
    query = attention.project(x).reshape(7, 3, 3, 4)[:, 0]
    expected = jax.nn.dot_product_attention(query, key, value, is_causal=True).reshape(7, 12)
    np.testing.assert_allclose(answer, attention.merge(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("capacity", "positions"), [(1, 0), (6, 0), (6, 5), (40, 5)])
def test_a_stream_in_pieces_equals_the_whole(capacity, positions):
    model, x = classifier(positions=positions), rows(25)
    whole, after = stream(model, x, model.empty_cache(capacity))
    cache, pieces = model.empty_cache(capacity), []
    for piece in jnp.split(x, [1, 9, 17]):
        logits, cache = stream(model, piece, cache)
        pieces.append(logits)
    np.testing.assert_allclose(jnp.concatenate(pieces), whole, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(cache.keys, after.keys, rtol=1e-9, atol=1e-11)
    assert int(cache.seen) == int(after.seen) == 25


@pytest.mark.parametrize("positions", [0, 30])
def test_logits_ignore_later_rows_and_see_earlier_ones(positions):
    model, x = classifier(positions=positions), rows(10)
    cache = model.empty_cache(10)
    logits, _ = stream(model, x, cache)
    changed, _ = stream(model, x.at[6].add(3.0), cache)
    np.testing.assert_array_equal(changed[:6], logits[:6])
    assert float(jnp.min(jnp.max(jnp.abs(changed - logits)[6:], axis=1))) > 1e-3


@pytest.mark.parametrize("positions", [0, 30])
def test_a_row_by_itself_is_the_next_of_the_stream(positions):
    model, x = classifier(positions=positions), rows(9)
    whole, _ = stream(model, x, model.empty_cache(5))
    for j in (0, 8):
        _, cache = stream(model, x[:j], model.empty_cache(5))
        alone = independently(model, x, cache)
        np.testing.assert_allclose(alone[j], whole[j], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(alone[::-1], independently(model, x[::-1], cache), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(eqx.filter_jit(model)(x)[0], whole[0], rtol=1e-9, atol=1e-11)


def test_without_positions_the_order_matters_through_the_mask_alone():
    x, query = rows(8), rows(3, seed=5)
    shuffled = x[jax.random.permutation(jax.random.key(9), 8)]
    after = lambda model, context: independently(model, query, stream(model, context, model.empty_cache(8))[1])
    shallow = classifier(depth=1)
    np.testing.assert_allclose(after(shallow, shuffled), after(shallow, x), rtol=1e-9, atol=1e-11)
    deep = classifier(depth=2)
    assert float(jnp.max(jnp.abs(after(deep, shuffled) - after(deep, x)))) > 1e-3
    placed = classifier(depth=1, positions=8)
    assert float(jnp.max(jnp.abs(after(placed, shuffled) - after(placed, x)))) > 1e-3


def test_gradients_agree_with_finite_differences():
    model, x = classifier(positions=4), rows(6)
    arrays, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(arrays):
        return jnp.sum(jnp.sin(stream(eqx.combine(arrays, static), x, model.empty_cache(3))[0]))

    check_grads(loss, (arrays,), order=1, modes=("rev",), eps=1e-6)


def test_layer_norm_leaves_rows_apart():
    layer = loud(nn.LayerNorm, 3, dtype=jnp.float64)
    images = jax.random.normal(jax.random.key(1), (5, 4, 6, 3), jnp.float64)
    out = layer(images)
    np.testing.assert_allclose(layer(images[2:3])[0], out[2], rtol=1e-12)
    np.testing.assert_allclose(out[0], naive_norm(np.asarray(images[0]), layer), rtol=1e-12)
    plain = nn.LayerNorm(3, dtype=jnp.float64)(images)
    np.testing.assert_allclose(jnp.mean(plain, (1, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(jnp.std(plain, (1, 2, 3)), 1, atol=1e-4)


@pytest.mark.parametrize("pieces", [[3], [5], [2, 2, 7, 1], [1] * 8, [12, 4]])
def test_a_ring_keeps_the_latest_rows_in_known_places(pieces):
    buffer, seen = jnp.full((5, 2), -1), jnp.zeros((), jnp.int32)
    for piece in pieces:
        buffer = append_rows(buffer, jnp.stack([int(seen) + jnp.arange(piece)] * 2, axis=1), seen)
        seen = seen + piece
    numbers = row_numbers(5, seen)
    np.testing.assert_array_equal(buffer[:, 0], jnp.maximum(numbers, -1))
    total = sum(pieces)
    assert sorted(int(n) for n in numbers if n >= 0) == list(range(max(0, total - 5), total))


@pytest.mark.parametrize(("dtype", "rtol"), [(jnp.float32, 1e-4), (jnp.float64, 1e-10)])
def test_dtypes_and_transformations(dtype, rtol):
    make = eqx.filter_jit(nn.in_context_net)
    model = make((9, 9, 1), 4, key=jax.random.key(0), encoder_width=2, kernel_size=3, depth=1, dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype(dtype)}
    images = jax.random.normal(jax.random.key(1), (2, 5, 9, 9, 1), dtype)
    logits, cache = jax.jit(jax.vmap(lambda x: model.stream(x, model.empty_cache(7))))(images)
    assert logits.dtype == cache.keys.dtype == dtype
    assert logits.shape == (2, 5, 4)
    single, _ = stream(model, images[1], model.empty_cache(7))
    np.testing.assert_allclose(logits[1], single, rtol=rtol, atol=1e-6)


def test_bad_sizes_are_refused():
    make = lambda **sizes: nn.InContextClassifier(lambda x: x, 3, 2, key=jax.random.key(0), **sizes)
    with pytest.raises(ValueError, match="does not divide width"):
        make(width=10, heads=4)
    with pytest.raises(ValueError, match="depth=0"):
        make(depth=0)
    with pytest.raises(ValueError, match="positions=-1"):
        make(positions=-1)
