"""One affine map against SciPy and NumPy, its random draws against closed forms, and the mean over areas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import affine_transform, rotate

from mutatis.symmetry._augment import Augmentation, affine, area_mean, rotation

RNG = np.random.default_rng(0)
GREY = RNG.random((6, 9, 12))
INK = (RNG.random((4, 105, 105)) < 0.1).astype(np.float64)
NOWHERE = jnp.zeros((6, 2))


@eqx.filter_jit
def augment(augmentation, images, seed):
    return augmentation(images, key=jax.random.key(seed))


def scipy_affine(images, matrices, offsets):
    """SciPy counts positions from the corner, `affine` from the centre."""
    centre = (np.array(images.shape[1:]) - 1) / 2
    return np.stack(
        [
            affine_transform(image, a, centre + b - a @ centre, order=1, mode="grid-constant")
            for image, a, b in zip(images, np.asarray(matrices), np.asarray(offsets), strict=True)
        ]
    )


@pytest.mark.parametrize("images", [GREY, INK], ids=["grey 9x12", "ink 105x105"])
def test_affine_is_scipys(images):
    matrices = np.eye(2) + RNG.uniform(-0.8, 0.8, (len(images), 2, 2))
    offsets = RNG.uniform(-5, 5, (len(images), 2))
    ours = affine(jnp.asarray(images), jnp.asarray(matrices), jnp.asarray(offsets))
    np.testing.assert_allclose(ours, scipy_affine(images, matrices, offsets), atol=1e-10)


def test_affine_is_scipys_in_single_precision():
    matrices = np.asarray(rotation(jnp.array([-29.0, -7.0, 11.0, 30.0])), np.float32) * np.float32(0.93)
    offsets = RNG.uniform(-3, 3, (4, 2)).astype(np.float32)
    ours = affine(jnp.asarray(INK, jnp.float32), jnp.asarray(matrices), jnp.asarray(offsets))
    assert ours.dtype == jnp.float32
    expected = scipy_affine(INK, matrices.astype(np.float64), offsets.astype(np.float64))
    np.testing.assert_allclose(area_mean(ours, 28), area_mean(jnp.asarray(expected), 28), atol=1e-5)


def test_rotation_turns_counter_clockwise_as_scipy_and_numpy_do():
    square = jnp.asarray(GREY[:, :, :9])
    quarter = jnp.broadcast_to(rotation(jnp.asarray(90.0)), (6, 2, 2))
    np.testing.assert_allclose(affine(square, quarter, NOWHERE), np.rot90(square, axes=(1, 2)), atol=1e-12)
    exact = jnp.broadcast_to(jnp.array([[0.0, 1.0], [-1.0, 0.0]]), (6, 2, 2))
    np.testing.assert_array_equal(affine(square, exact, NOWHERE), np.rot90(square, axes=(1, 2)))
    turned = affine(square, rotation(jnp.full(6, 25.0)), NOWHERE)
    expected = rotate(square, 25, axes=(2, 1), order=1, reshape=False, mode="grid-constant")
    np.testing.assert_allclose(turned, expected, atol=1e-12)


def test_nothing_to_change_is_the_area_mean_exactly():
    images = jnp.asarray(INK, jnp.float32)
    unchanged = augment(Augmentation(flip=0, angle=0, area=1), images, 0)
    np.testing.assert_array_equal(unchanged, images)
    np.testing.assert_array_equal(area_mean(unchanged, 28), area_mean(images, 28))


def test_flips_are_exact_and_all_four_equally_frequent():
    images = jnp.broadcast_to(jnp.asarray(GREY[:1]), (2000, 9, 12))
    flipped = augment(Augmentation(angle=0, area=1), images, 1)
    four = np.stack([GREY[0, ::rows, ::columns] for rows in (1, -1) for columns in (1, -1)])
    which = (np.asarray(flipped)[:, None] == four[None]).all((2, 3))
    assert (which.sum(1) == 1).all()
    # Four standard errors of a frequency of 1/4 among 2,000.
    np.testing.assert_allclose(which.mean(0), 0.25, atol=0.039)


def test_crops_stay_inside_the_image_and_keep_the_share_of_area_asked_for():
    ones = jnp.ones((500, 21, 21))
    whole = augment(Augmentation(flip=0, angle=0), ones, 2)
    # A pixel's centre lies at most (1 - sqrt(.8)) / 2 beyond the outermost centre of the original, on each axis.
    assert float(whole.min()) >= ((1 + 0.8**0.5) / 2) ** 2 - 1e-12
    # Ink that no crop cuts off is enlarged by 1 / share: E[1 / U(.8, 1)] = log(1 / .8) / .2, sd of one draw .07.
    distance = np.hypot(*np.meshgrid(np.arange(-20, 21), np.arange(-20, 21)))
    blob = jnp.broadcast_to(jnp.asarray(np.exp(-(distance**2) / 18)), (500, 41, 41))
    enlarged = jnp.mean(augment(Augmentation(), blob, 3)) / jnp.mean(blob)
    np.testing.assert_allclose(enlarged, np.log(1 / 0.8) / 0.2, atol=4 * 0.07 / 500**0.5)


def test_angles_are_uniform_up_to_the_largest():
    bar = np.zeros((41, 41))
    bar[20, 3:38] = 1
    bars = jnp.broadcast_to(jnp.asarray(bar), (1000, 41, 41))
    turned = np.asarray(augment(Augmentation(flip=0, area=1, angle=30.0), bars, 4))
    row, column = np.meshgrid(np.arange(41) - 20, np.arange(41) - 20, indexing="ij")
    slope = np.degrees(np.arctan2(-(turned * row * column).sum((1, 2)), (turned * column**2).sum((1, 2))))
    np.testing.assert_allclose([slope.min(), slope.max()], [-30, 30], atol=0.5)
    # A uniform variable on +-30 has standard deviation 30 / sqrt(3).
    np.testing.assert_allclose([slope.mean(), slope.std()], [0, 30 / 3**0.5], atol=2.2)


def test_every_image_gets_a_draw_of_its_own_that_the_key_decides():
    images = jnp.broadcast_to(jnp.asarray(INK[:1], jnp.float32), (8, 105, 105))
    first, again, other = (augment(Augmentation(), images, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert len({image.tobytes() for image in np.concatenate([first, other])}) == 16
    assert first.dtype == jnp.float32 and augment(Augmentation(), jnp.asarray(GREY), 0).dtype == jnp.float64


def test_area_mean_is_the_mean_over_areas():
    # Repeated four times, 105 pixels are 420, of which each of 28 covers exactly 15.
    repeated = INK.repeat(4, axis=1).repeat(4, axis=2)
    expected = repeated.reshape(4, 28, 15, 28, 15).mean((2, 4))
    np.testing.assert_allclose(area_mean(jnp.asarray(INK), 28), expected, atol=1e-14)
    np.testing.assert_allclose(area_mean(jnp.asarray(INK), 28).mean((1, 2)), INK.mean((1, 2)), rtol=1e-12)
    digits = jnp.asarray(GREY[:, :8, :8])
    np.testing.assert_array_equal(area_mean(digits, 8), digits)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"flip": 1.5}, "flip is 1.5"), ({"area": 0}, "area is 0"), ({"area": 1.2}, "area is 1.2")],
)
def test_impossible_strengths(settings, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**settings)


def test_area_mean_cannot_enlarge():
    with pytest.raises(ValueError, match=r"size is 10 for images of 9x12.*from 1 to 9"):
        area_mean(jnp.asarray(GREY), 10)
