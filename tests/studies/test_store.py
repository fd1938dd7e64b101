"""Checkpoints and files: exact, whole, and refused when they do not fit."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis.studies import _store
from mutatis.studies._store import Checkpoint, DamagedCheckpointError, load_checkpoint, save_checkpoint


class Carry(eqx.Module):
    weights: jax.Array
    half: jax.Array
    count: jax.Array
    flags: np.ndarray
    empty: jax.Array
    keys: jax.Array
    other_key: jax.Array
    name: str = eqx.field(static=True)


def make(seed):
    generator = np.random.default_rng(seed)
    return Carry(
        jnp.asarray(generator.normal(size=(3, 2))),
        jnp.asarray(generator.normal(size=5), jnp.bfloat16),
        jnp.int32(seed),
        generator.random(4) < 0.5,
        jnp.zeros((0, 7), jnp.float32),
        jax.random.split(jax.random.key(seed), 2),
        jax.random.key(seed, impl="rbg"),
        "static",
    )


def bits(tree):
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    leaves = [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]
    return [(x.dtype, x.shape, x.tobytes()) for x in leaves]


def test_a_checkpoint_gives_back_every_bit_and_every_type(tmp_path):
    carry = make(1)
    path = save_checkpoint(tmp_path, Checkpoint(7, carry, {"best": 0.1 + 0.2, "finished": False}))
    loaded = load_checkpoint(path, make(2))
    assert bits(loaded.tree) == bits(carry)
    assert [type(x) for x in jax.tree.leaves(loaded.tree)] == [type(x) for x in jax.tree.leaves(carry)]
    assert str(jax.random.key_impl(loaded.tree.other_key)) == "rbg"
    assert (loaded.step, loaded.state) == (7, {"best": 0.1 + 0.2, "finished": False})
    np.testing.assert_array_equal(jax.random.normal(loaded.tree.keys[1], 3), jax.random.normal(carry.keys[1], 3))


def test_the_file_is_a_line_of_json_and_the_bytes_of_the_arrays(tmp_path):
    carry = make(1)
    path = save_checkpoint(tmp_path, Checkpoint(7, carry, {}))
    header, content = path.read_bytes().split(b"\n", 1)
    described = json.loads(header)["leaves"]
    assert described[0] == [".weights", [3, 2], "float64", None]
    np.testing.assert_array_equal(np.frombuffer(content, "<f8", 6).reshape(3, 2), carry.weights)


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.999])
def test_a_torn_file_is_noticed(tmp_path, part):
    path = save_checkpoint(tmp_path, Checkpoint(7, make(1), {}))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DamagedCheckpointError, match=path.name):
        load_checkpoint(path, make(1))


def test_a_flipped_bit_is_noticed(tmp_path):
    path = save_checkpoint(tmp_path, Checkpoint(7, make(1), {}))
    content = bytearray(path.read_bytes())
    content[-20] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match="bytes are not those"):
        load_checkpoint(path, make(1))


def replaced(where, value):
    return lambda carry: eqx.tree_at(where, carry, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            replaced(lambda c: c.weights, jnp.zeros((3, 4))),
            r"\.weights is float64\[3, 2\] in the file, \.weights is float64\[3, 4\] now",
        ),
        (replaced(lambda c: c.count, jnp.float32(0)), r"\.count is int32\[\] in the file"),
        (replaced(lambda c: c.other_key, jax.random.key(0)), r"\.other_key"),
        (lambda carry: (carry, jnp.zeros(1)), "does not fit"),
        (replaced(lambda c: c.flags, None), "does not fit"),
    ],
)
def test_another_form_is_refused_with_the_first_difference(tmp_path, change, message):
    path = save_checkpoint(tmp_path, Checkpoint(7, make(1), {}))
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path, change(make(1)))


def test_another_version_is_refused(tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path, Checkpoint(7, make(1), {}))
    monkeypatch.setattr(_store, "VERSION", 2)
    with pytest.raises(ValueError, match="format version 1, this mutatis reads version 2"):
        load_checkpoint(path, make(1))


def test_the_last_two_are_kept(tmp_path):
    for step in (5, 10, 15, 1000):
        save_checkpoint(tmp_path, Checkpoint(step, make(step), {}))
    assert [load_checkpoint(path, make(0)).step for path in _store.list_checkpoints(tmp_path)] == [1000, 15]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    _store.write_whole(path, "old")

    def chunks():
        yield b"new"
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        _store.write_whole(path, chunks())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_holds_what_numpy_and_jax_computed(tmp_path):
    value = {
        "a": np.float32(0.1),
        "b": jnp.arange(2),
        "c": float("nan"),
        3: (np.bool_(True), np.inf),
        "é": None,
    }
    _store.write_json(tmp_path / "x.json", value)
    expected = {"a": float(np.float32(0.1)), "b": [0, 1], "c": None, "3": [True, None], "é": None}
    assert _store.read_json(tmp_path / "x.json") == expected
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"x\.json is damaged"):
        _store.read_json(tmp_path / "x.json")


def test_arrays_are_kept_without_pickle(tmp_path):
    _store.write_arrays(tmp_path / "a.npz", {"x": np.arange(3), "names": np.array(["a", "bc"])})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["names"].tolist() == ["a", "bc"]
        assert arrays["x"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="gallery\\['x'\\] holds Python objects"):
        _store.write_arrays(tmp_path / "b.npz", {"x": np.array([None])})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_torn_last_line_is_left_out(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(b'{"step": 1}\n{"step": 2}\n{"st')
    assert _store.read_lines(tmp_path / "m.jsonl") == [{"step": 1}, {"step": 2}]
    assert _store.read_lines(tmp_path / "none.jsonl") == []
