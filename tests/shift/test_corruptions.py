import colorsys
import inspect
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from mutatis.shift.corruptions import CIFAR, CORRUPTIONS, TINY_IMAGENET, CorruptionTable, corrupt
from mutatis.shift.corruptions._blur import disc_kernel, neighbour_sources, smear, zoom_factors
from mutatis.shift.corruptions._corrupt import _FUNCTIONS
from mutatis.shift.corruptions._digital import (
    affine_coordinates,
    mirror_about_edge,
    mirror_about_pixel,
    sample_linear,
)
from mutatis.shift.corruptions._frost import frost_textures
from mutatis.shift.corruptions._plasma import plasma
from mutatis.shift.corruptions._relief import edges, equalised
from mutatis.shift.corruptions._streams import Streams

LUMA = np.array([0.299, 0.587, 0.114])


def smooth_images(count, size=32, low=40, high=215, seed=0):
    """Coloured fields with edges, away from black and white so that clipping plays no part."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(count, size, size, 3)), (0, 2, 2, 0), mode="wrap")
    fields = np.where(fields > 0, fields + fields.std(), fields)
    fields -= fields.min()
    return (low + (high - low) * fields / fields.max()).astype(np.uint8)


def levels_apart(left, right):
    return np.abs(left.astype(int) - right.astype(int))


# The tables


@pytest.mark.parametrize("table", [CIFAR, TINY_IMAGENET], ids=lambda table: table.name)
def test_tables_fit_the_functions(table):
    assert len(CORRUPTIONS) == len(set(CORRUPTIONS)) == 19
    assert set(_FUNCTIONS) == set(CORRUPTIONS) == set(table.levels)
    for corruption in CORRUPTIONS:
        assert len(table.levels[corruption]) == 5
        for parameters in table.levels[corruption]:
            inspect.signature(_FUNCTIONS[corruption]).bind("images", "streams", *parameters)


def test_an_incomplete_table_is_refused():
    with pytest.raises(ValueError, match="frost"):
        CorruptionTable("no frost", {k: v for k, v in CIFAR.levels.items() if k != "frost"})
    with pytest.raises(ValueError, match=r"'fog'.*4 severities"):
        CorruptionTable("short", {**CIFAR.levels, "fog": CIFAR.levels["fog"][:4]})


# All corruptions


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_an_image_does_not_depend_on_its_batch(corruption):
    images = smooth_images(150, low=0, high=255)  # more than one batch inside
    before = images.copy()
    whole = corrupt(images, corruption, 3, seed=7)
    np.testing.assert_array_equal(images, before)
    assert whole.dtype == np.uint8 and whole.shape == images.shape
    assert levels_apart(whole, images).mean() > 0.5
    np.testing.assert_array_equal(whole, corrupt(images, corruption, 3, seed=7))
    rows = np.array([149, 3, 77, 131])
    part = corrupt(images[rows], corruption, 3, seed=7, positions=rows)
    np.testing.assert_array_equal(part, whole[rows])
    alone = corrupt(images[5:6], corruption, 3, seed=7, positions=np.array([5]))
    np.testing.assert_array_equal(alone, whole[5:6])
    assert corrupt(images[:0], corruption, 3, seed=7).shape == (0, 32, 32, 3)


RANDOM = sorted(
    set(CORRUPTIONS)
    - {
        "defocus_blur",
        "zoom_blur",
        "brightness",
        "contrast",
        "pixelate",
        "jpeg_compression",
        "gaussian_blur",
        "saturate",
    }
)


@pytest.mark.parametrize("corruption", RANDOM)
def test_seeds_and_positions_give_different_draws(corruption):
    images = np.repeat(smooth_images(1), 12, axis=0)
    first, second = (corrupt(images, corruption, 4, seed=seed) for seed in (0, 1))
    # The same image at twelve positions. Motion blur has only tens of different whole-pixel paths.
    least = 8 if corruption == "motion_blur" else 12
    assert len(np.unique(first, axis=0)) >= least
    assert (first != second).any(axis=(1, 2, 3)).sum() >= least


@pytest.mark.parametrize("table, size", [(CIFAR, 32), (TINY_IMAGENET, 64)], ids=["cifar", "tiny"])
@pytest.mark.parametrize(
    "corruption",
    [
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "speckle_noise",
        "defocus_blur",
        "gaussian_blur",
        "zoom_blur",
        "fog",
        "brightness",
        "contrast",
        "pixelate",
        "jpeg_compression",
    ],
)
def test_distortion_grows_with_severity(corruption, table, size):
    images = smooth_images(30, size)
    distortion = [
        np.square(levels_apart(corrupt(images, corruption, severity, table=table, seed=0), images)).mean()
        for severity in range(1, 6)
    ]
    assert np.all(np.diff(distortion) > 0), distortion


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_images_need_not_be_square_or_writable(corruption):
    images = smooth_images(2, 48)[:, :40]
    images.flags.writeable = False
    assert corrupt(images, corruption, 5, table=TINY_IMAGENET, seed=0).shape == (2, 40, 48, 3)


# Bad input


def test_bad_input_is_named():
    images = smooth_images(2)
    with pytest.raises(ValueError, match="nearest names: gaussian_"):
        corrupt(images, "gausian_noise", 1, seed=0)
    for severity in (0, 6, 2.5, "3"):
        with pytest.raises(ValueError, match="severity"):
            corrupt(images, "fog", severity, seed=0)
    with pytest.raises(ValueError, match="float64; pass uint8"):
        corrupt(images / 255, "fog", 1, seed=0)
    for shape in (images[..., :1], images[0], np.moveaxis(images, 3, 1)):
        with pytest.raises(ValueError, match="shape"):
            corrupt(shape, "fog", 1, seed=0)
    with pytest.raises(ValueError, match="at least 16"):
        corrupt(images[:, :8], "fog", 1, seed=0)
    for seed in (-1, 0.5):
        with pytest.raises(ValueError, match="seed"):
            corrupt(images, "fog", 1, seed=seed)
    for positions in (np.arange(3), np.array([0, -1]), np.array([0.0, 1.0])):
        with pytest.raises(ValueError, match="positions"):
            corrupt(images, "fog", 1, seed=0, positions=positions)


def test_importing_the_library_leaves_corruptions_alone():
    code = "import sys, mutatis; assert not any('corruptions' in name for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("missing", ["PIL", "scipy"])
def test_a_missing_package_names_the_extra(missing):
    block = f"import sys, mutatis.shift; sys.modules[{missing!r}] = None; import mutatis.shift.corruptions"
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"needs {missing}" in done.stderr and "pip install 'mutatis[studies]'" in done.stderr


# Random streams


def test_streams_are_independent_over_positions_and_draws():
    streams = Streams(np.arange(200), seed=0, corruption="fog", severity=1)
    first, second = streams.normal(500), streams.normal(500)
    assert abs(first.mean()) < 0.01 and abs(first.std() - 1) < 0.01
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.01
    between = np.corrcoef(first)[np.triu_indices(200, 1)]
    assert np.abs(between).max() < 0.25 and abs(between.std() - 1 / np.sqrt(500)) < 0.002
    far = Streams(np.array([199, 2**40]), seed=0, corruption="fog", severity=1).normal(500)
    np.testing.assert_array_equal(far[0], first[199])


# Noise: moments on a grey image, where nothing is clipped. Truncation subtracts half a level and adds 1/12.


def grey_noise(corruption, severity, table, value=128):
    images = np.full((60, 32, 32, 3), value, np.uint8)
    return corrupt(images, corruption, severity, table=table, seed=3).astype(float), value / 255


@pytest.mark.parametrize("severity", [1, 3])
@pytest.mark.parametrize("table", [CIFAR, TINY_IMAGENET], ids=["cifar", "tiny"])
def test_noise_moments(severity, table):
    variances = {
        "gaussian_noise": lambda c, x: c**2,
        "shot_noise": lambda c, x: x / c,
        "speckle_noise": lambda c, x: (x * c) ** 2,
    }
    for corruption, variance in variances.items():
        noisy, x = grey_noise(corruption, severity, table)
        (c,) = table.levels[corruption][severity - 1]
        expected = 255**2 * variance(c, x) + 1 / 12
        assert noisy.var() == pytest.approx(expected, rel=0.03), corruption
        error = 5 * np.sqrt(expected / noisy.size)
        # Poisson counts make whole steps of 255 / c levels, so what truncation takes is not quite uniform.
        assert noisy.mean() == pytest.approx(127.5, abs=error + (0.1 if corruption == "shot_noise" else 0))


def test_impulse_noise_shares():
    noisy, _ = grey_noise("impulse_noise", 4, CIFAR)
    for value in (0, 255):
        share = (noisy == value).mean()
        assert abs(share - 0.025) < 5 * np.sqrt(0.025 / noisy.size)
    assert set(np.unique(noisy)) == {0, 128, 255}


# Blurs


@pytest.mark.parametrize("severity, sigma", [(1, 0.4), (5, 1.0)])
def test_gaussian_blur_against_scipy(severity, sigma):
    images = smooth_images(4)
    expected = ndimage.gaussian_filter(images / 255, (0, sigma, sigma, 0), mode="nearest", truncate=4)
    apart = levels_apart(corrupt(images, "gaussian_blur", severity, seed=0), np.floor(255 * expected + 1e-3))
    assert apart.max() <= 1 and apart.mean() < 1e-3


def test_discs():
    # A tiny softness leaves the bare disc, whose pixels can be counted.
    for radius, pixels in [(0.3, 1), (0.5, 1), (1, 5), (1.5, 9), (2.5, 21), (3, 29)]:
        bare = disc_kernel(radius, 0.01)
        assert (bare > 0).sum() == pixels and bare[bare > 0] == pytest.approx(1 / pixels)
    for table in (CIFAR, TINY_IMAGENET):
        for radius, softness in table.levels["defocus_blur"]:
            kernel = disc_kernel(radius, softness)
            assert kernel.sum() == pytest.approx(1, abs=1e-6)
            np.testing.assert_array_equal(kernel, kernel[::-1, ::-1])
    side = np.exp(-1 / (2 * 0.4**2))
    assert disc_kernel(0.3, 0.4)[1, 1] == pytest.approx(1 / (1 + 2 * side) ** 2)


def test_defocus_blur_against_scipy():
    images = smooth_images(3, 64)
    kernel = disc_kernel(*TINY_IMAGENET.levels["defocus_blur"][4])[None, :, :, None]
    expected = ndimage.correlate(images / 255, kernel.astype(float), mode="mirror")
    apart = levels_apart(
        corrupt(images, "defocus_blur", 5, table=TINY_IMAGENET, seed=0), np.floor(255 * expected + 1e-3)
    )
    assert apart.max() <= 1 and apart.mean() < 1e-3


@pytest.mark.parametrize("reach, size", [(1, 32), (2, 32), (3, 17)])
def test_glass_copies_like_the_sequential_loop(reach, size):
    rng = np.random.default_rng(reach)
    offsets = rng.integers(-reach, reach, (3, 2, size - 2 * reach, size - 2 * reach))
    sources = neighbour_sources(offsets, size, size, reach).reshape(3, size, size)
    for image in range(3):
        expected = np.arange(size * size).reshape(size, size)
        for row in range(size - reach, reach, -1):
            for column in range(size - reach, reach, -1):
                down, across = offsets[image, :, row - reach - 1, column - reach - 1]
                expected[row, column] = expected[row + down, column + across]
        np.testing.assert_array_equal(sources[image], expected)


def test_glass_blur_with_no_blur_only_moves_neighbours():
    # Severity 1 blurs by 0.05 pixels, which is nothing: every pixel is one of its old neighbours up or left.
    image = np.arange(32 * 32 * 3).reshape(1, 32, 32, 3) % 251
    image = image.astype(np.uint8)
    glassy = corrupt(image, "glass_blur", 1, seed=0)[0]
    padded = np.pad(image[0], ((1, 0), (1, 0), (0, 0)))
    near = [padded[r : r + 32, c : c + 32] for r in (0, 1) for c in (0, 1)]
    assert np.any([(glassy == choice).all(axis=2) for choice in near], axis=0).all()
    np.testing.assert_array_equal(glassy[:2], image[0, :2])
    assert (glassy != image[0]).mean() > 0.5


@pytest.mark.parametrize("angle", [-45.0, -20.0, 0.0, 33.0, 45.0, -90.0, -135.0])
def test_smear_computed_pixel_by_pixel(angle):
    image = np.random.default_rng(0).random((12, 12))
    radius, sigma = 4, 2.5
    weights = [np.exp(-(i**2) / (2 * sigma**2)) for i in range(2 * radius + 1)]
    expected = np.zeros_like(image)
    for row in range(12):
        for column in range(12):
            for i, weight in enumerate(weights):
                across = int(np.ceil(i * np.cos(np.pi * angle / 180) - 0.5))
                down = int(np.ceil(i * np.sin(np.pi * angle / 180) - 0.5))
                from_row, from_column = np.clip([row + down, column + across], 0, 11)
                expected[row, column] += weight / sum(weights) * image[from_row, from_column]
    blurred = smear(image[None, :, :, None].astype(np.float32), np.array([angle]), radius, sigma)
    np.testing.assert_allclose(blurred[0, :, :, 0], expected, atol=1e-6)


def test_motion_blur_is_one_sided_and_keeps_flat_images():
    flat = np.full((5, 32, 32, 3), 77, np.uint8)
    np.testing.assert_array_equal(corrupt(flat, "motion_blur", 5, seed=0), flat)
    point = np.zeros((40, 32, 32, 3), np.uint8)
    point[:, 16, 16] = 255
    blurred = corrupt(point, "motion_blur", 5, seed=0)
    # Each pixel reads from its right, so the point spreads to its left alone.
    assert (blurred[:, :, 17:] == 0).all() and (blurred[:, :, :16] > 0).any(axis=(1, 2, 3)).all()


def test_zoom_blur_against_scipy():
    assert [len(zoom_factors(end)) for (end,) in CIFAR.levels["zoom_blur"]] == [7, 12, 16, 21, 26]
    images = smooth_images(2)
    blurred = corrupt(images, "zoom_blur", 5, seed=0)
    for image, ours in zip(images / 255, blurred, strict=True):
        total = image.copy()
        # The float range matters once more: its 1.2500000000000002 x 26 rounds to 33 pixels, 1.25 x 26 to 32.
        for factor in np.arange(1, 1.26, 0.01):
            crop = int(np.ceil(32 / factor))
            top = (32 - crop) // 2
            middle = image[top : top + crop, top : top + crop]
            zoomed = ndimage.zoom(middle, (factor, factor, 1), order=1)
            trim = (len(zoomed) - 32) // 2
            total += zoomed[trim : trim + 32, trim : trim + 32]
        apart = levels_apart(ours, np.floor(255 * total / 27 + 1e-3))
        assert apart.max() <= 1 and apart.mean() < 1e-2


# Weather


def test_snow_on_black_is_symmetric_and_has_its_floor():
    black = np.zeros((20, 32, 32, 3), np.uint8)
    for severity, (*_, share) in enumerate(CIFAR.levels["snow"], start=1):
        snowy = corrupt(black, "snow", severity, seed=1)
        np.testing.assert_array_equal(snowy, snowy[:, ::-1, ::-1])  # the layer plus itself turned round
        np.testing.assert_array_equal(snowy[..., 0], snowy[..., 2])  # grey
        floor = int(255 * (1 - share) * 0.5 + 1e-3)
        assert snowy.min() == floor and snowy.max() > floor + 40


def test_snow_whitens_towards_bright_grey():
    # White stays white; a grey g becomes k g + (1 - k) (1.5 g + 0.5) where no flake falls.
    image = np.full((10, 32, 32, 3), 51, np.uint8)
    snowy = corrupt(image, "snow", 1, seed=0)
    assert snowy.min() == int(255 * (0.95 * 0.2 + 0.05 * (1.5 * 0.2 + 0.5)) + 1e-3)
    white = np.full((2, 32, 32, 3), 255, np.uint8)
    np.testing.assert_array_equal(corrupt(white, "snow", 5, seed=0), white)


def test_frost_textures_have_the_photographs_moments():
    textures = frost_textures()
    means = [(78, 149, 166), (201, 205, 214), (201, 205, 214), (138, 153, 165), (112, 123, 135)]
    np.testing.assert_allclose(textures.mean(axis=(1, 2)), means, atol=1)
    for picture in textures @ LUMA:
        crops = picture.reshape(8, 32, 8, 32).transpose(0, 2, 1, 3).reshape(64, 32, 32)
        spread = crops.std(axis=(1, 2))
        assert np.quantile(spread, 0.05) >= 11 and np.quantile(spread, 0.95) <= 28
        across = [np.corrcoef(c[:, 1:].ravel(), c[:, :-1].ravel())[0, 1] for c in crops]
        down = [np.corrcoef(c[1:].ravel(), c[:-1].ravel())[0, 1] for c in crops]
        assert 0.87 <= np.mean(across) <= 0.96 and 0.87 <= np.mean(down) <= 0.96
    # A crop may wrap round: across the seam neighbours are as alike as elsewhere.
    seam = np.abs(textures[:, 0].astype(float) - textures[:, -1]).mean()
    inside = np.abs(np.diff(textures.astype(float), axis=1)).mean()
    assert seam < 1.5 * inside


def test_frost_formula():
    black, grey = np.zeros((300, 32, 32, 3), np.uint8), np.full((300, 32, 32, 3), 60, np.uint8)
    ice, both = (corrupt(images, "frost", 5, seed=0).astype(float) for images in (black, grey))
    assert np.abs(both - ice - 0.75 * 60).max() <= 1
    assert ice.mean() == pytest.approx(0.45 * frost_textures().mean(), rel=0.05)


def test_plasma_against_a_pixel_loop():
    size, decay = 8, 1.75
    noise = np.random.default_rng(0).uniform(-1, 1, (2, size, size))
    for image, ours in zip(noise, plasma(noise.copy(), decay), strict=True):
        height = np.zeros((size, size))
        step, wibble = size, 100.0
        while step > 1:
            half = step // 2

            def raised(row, column, reach, diagonal, h=height, w=wibble, values=image):
                signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)] if diagonal else [(1, 0), (-1, 0), (0, 1), (0, -1)]
                around = [h[(row + reach * a) % size, (column + reach * b) % size] for a, b in signs]
                return np.mean(around) + w * w * values[row, column]

            for row in range(half, size, step):
                for column in range(half, size, step):
                    height[row, column] = raised(row, column, half, True)
            for row in range(0, size, half):
                for column in range(0, size, half):
                    if (row // half + column // half) % 2:
                        height[row, column] = raised(row, column, half, False)
            step, wibble = half, wibble / decay
        expected = (height - height.min()) / (height.max() - height.min())
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_fog_on_a_flat_image_spans_its_range():
    # x = M: the result runs from M^2 / (M + c) (no fog) to M (full fog).
    flat = np.full((8, 32, 32, 3), 102, np.uint8)
    foggy = corrupt(flat, "fog", 4, seed=0)
    low = int(255 * 0.4 * 0.4 / (0.4 + 1) + 1e-3)
    assert (foggy.min(axis=(1, 2, 3)) == low).all() and (foggy.max(axis=(1, 2, 3)) == 102).all()
    np.testing.assert_array_equal(foggy[..., 0], foggy[..., 1])


def test_spatter_colours():
    black = np.zeros((40, 32, 32, 3), np.uint8)
    water = corrupt(black, "spatter", 3, seed=0)
    wet = water[..., 1] > 60
    ratio = water[wet][:, 0] / water[wet][:, 1]
    np.testing.assert_allclose(ratio, 175 / 238, atol=0.03)
    np.testing.assert_array_equal(water[..., 1], water[..., 2])
    assert water.max() == int(0.5 * 238 + 1e-3)
    mud = corrupt(np.full_like(black, 200), "spatter", 5, seed=0)
    clean = (mud == 200).all(axis=3)
    assert 0.5 < clean.mean() < 0.99
    mask = (200 - mud[~clean].astype(float)) / (200 - np.array([63, 42, 20]))
    assert mask.min() > 0.79 and mask.max() <= 1.01
    np.testing.assert_allclose(mask[:, 0], mask[:, 2], atol=0.02)


def test_spatter_stays_finite_without_liquid():
    # Far above any noise the threshold leaves no drop: the image is unchanged.
    levels = {**CIFAR.levels, "spatter": ((0.1, 0.01, 1, 0.7, 0.5, False),) * 5}
    images = smooth_images(3)
    dry = corrupt(images, "spatter", 1, table=CorruptionTable("dry", levels), seed=0)
    np.testing.assert_array_equal(dry, images)


def test_edges_of_a_square_surround_it_thinly():
    layer = np.zeros((2, 24, 24), np.uint8)
    layer[0, 6:16, 8:18] = 200
    found = edges(layer)
    assert not found[1].any()
    square = layer[0] > 0
    ring = ndimage.binary_dilation(square, np.ones((3, 3))) & ~ndimage.binary_erosion(square, np.ones((3, 3)))
    assert not (found[0] & ~ring).any()
    # Thin: each row and column through the middle crosses two edges.
    assert (found[0, 8:14].sum(axis=1) == 2).all() and (found[0, :, 10:16].sum(axis=0) == 2).all()
    _, inside = ndimage.label(~found[0])
    assert inside == 2  # the outline is closed


def test_equalised_levels():
    image = np.array([[3, 3, 5], [5, 7, 7], [7, 7, 7]], np.uint8)
    # Lowest level to 0, then cumulative share of the rest: 2/7 and 7/7.
    np.testing.assert_array_equal(np.unique(equalised(image)), [0, round(255 * 2 / 7), 255])
    flat = np.full((3, 3), 9, np.uint8)
    np.testing.assert_array_equal(equalised(flat), flat)


# Digital


@pytest.mark.parametrize(
    "corruption, severity, change",
    [
        ("brightness", 3, lambda h, s, v: (h, s, min(v + 0.15, 1))),
        ("saturate", 2, lambda h, s, v: (h, 0.1 * s, v)),
        ("saturate", 5, lambda h, s, v: (h, min(2.5 * s + 0.2, 1), v)),
    ],
)
def test_hsv_changes_against_colorsys(corruption, severity, change):
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    image[0, 0, :4] = [[0, 0, 0], [90, 90, 90], [255, 255, 255], [255, 0, 0]]
    expected = np.array(
        [[colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*(pixel / 255)))) for pixel in row] for row in image[0]]
    )
    ours = corrupt(image, corruption, severity, seed=0)[0]
    apart = levels_apart(ours, np.floor(255 * expected + 1e-3))
    assert apart.max() <= 1 and apart.mean() < 0.01


def test_contrast_formula():
    images = smooth_images(3)
    mean = images.mean(axis=(1, 2), keepdims=True)
    expected = np.floor((images - mean) * 0.4 + mean + 1e-3)
    apart = levels_apart(corrupt(images, "contrast", 3, seed=0), expected)
    assert apart.max() <= 1 and apart.mean() < 1e-3


def test_pixelate():
    sizes = [int(32 * share) for (share,) in CIFAR.levels["pixelate"]]
    assert sizes == [30, 28, 27, 24, 20]
    assert [int(64 * share) for (share,) in TINY_IMAGENET.levels["pixelate"]] == [57, 51, 44, 38, 32]
    # Half resolution is the mean of every 2 x 2 block, repeated.
    images = smooth_images(2, 64)
    blocks = images.reshape(2, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    ours = corrupt(images, "pixelate", 5, table=TINY_IMAGENET, seed=0)
    assert np.abs(ours - blocks.repeat(2, axis=1).repeat(2, axis=2)).max() <= 1
    small = Image.fromarray(smooth_images(1)[0]).resize((20, 20), Image.Resampling.BOX)
    expected = np.asarray(small.resize((32, 32), Image.Resampling.BOX))
    np.testing.assert_array_equal(corrupt(smooth_images(1), "pixelate", 5, seed=0)[0], expected)


def test_jpeg_against_pillow(tmp_path):
    image = smooth_images(1, seed=4)
    Image.fromarray(image[0]).save(tmp_path / "image.jpg", quality=40, subsampling="4:2:0")
    expected = np.asarray(Image.open(io.BytesIO((tmp_path / "image.jpg").read_bytes())))
    np.testing.assert_array_equal(corrupt(image, "jpeg_compression", 5, seed=0)[0], expected)


def test_elastic_first_severity_is_an_affine_map():
    images = smooth_images(3)
    moves = 2 * Streams(np.arange(3), seed=5, corruption="elastic_transform", severity=1).uniform(3, 2) - 1
    ours = corrupt(images, "elastic_transform", 1, seed=5)
    corners = np.array([[26, 26], [26, 6], [6, 6]], float)
    for image, move, result in zip(images, moves.astype(float), ours, strict=True):
        # Solve for the map that takes moved corners (across, down) back, and let scipy apply it.
        moved = np.column_stack([corners + 2.56 * move, np.ones(3)])
        matrix = np.linalg.lstsq(moved, corners)[0].T[::-1][:, [1, 0, 2]]
        for channel in range(3):
            expected = ndimage.affine_transform(image[..., channel] / 255, matrix, order=1, mode="mirror")
            apart = levels_apart(result[..., channel], np.floor(255 * expected + 1e-3))
            assert apart.max() <= 1 and apart.mean() < 0.02


def test_affine_coordinates_without_moves_are_the_grid():
    rows, columns = affine_coordinates(np.zeros((2, 3, 2), np.float32), 20, 30, 2.56)
    np.testing.assert_allclose(rows, np.broadcast_to(np.arange(20)[None, :, None], rows.shape), atol=1e-5)
    np.testing.assert_allclose(columns, np.broadcast_to(np.arange(30)[None, None, :], rows.shape), atol=1e-5)


@pytest.mark.parametrize("fold, mode", [(mirror_about_pixel, "mirror"), (mirror_about_edge, "reflect")])
def test_linear_sampling_against_scipy(fold, mode):
    rng = np.random.default_rng(0)
    images = rng.random((2, 9, 11, 3)).astype(np.float32)
    rows, columns = rng.uniform(-7, 16, (2, 9, 11)), rng.uniform(-8, 19, (2, 9, 11))
    ours = sample_linear(images, rows, columns, fold)
    for image in range(2):
        for channel in range(3):
            expected = ndimage.map_coordinates(
                images[image, :, :, channel].astype(float), [rows[image], columns[image]], order=1, mode=mode
            )
            np.testing.assert_allclose(ours[image, :, :, channel], expected, atol=1e-5)


def test_elastic_displacement_has_the_stated_size():
    # On a ramp, the change of a pixel is the displacement: its spread is amplitude x blurred noise's spread.
    steps = 6
    ramp = np.broadcast_to((20 + steps * np.arange(32)).astype(np.uint8)[None, None, :, None], (200, 32, 32, 3))
    levels = {**CIFAR.levels, "elastic_transform": ((3.2, 1.28, 0.0),) * 5}
    warped = corrupt(ramp, "elastic_transform", 1, table=CorruptionTable("no map", levels), seed=0)
    moved = (warped[:, 10:-10, 10:-10, 0].astype(float) + 0.5 - ramp[:, 10:-10, 10:-10, 0]) / steps
    impulse = np.zeros((41, 41))
    impulse[20, 20] = 1
    gain = np.sqrt(np.square(ndimage.gaussian_filter(impulse, 1.28, truncate=3)).sum())
    assert moved.std() == pytest.approx(3.2 * gain / np.sqrt(3), rel=0.03)
