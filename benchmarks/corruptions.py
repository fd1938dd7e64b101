"""Images per second of every corruption at severity 3, beside one-image-at-a-time versions of the slow ones.

Run `python benchmarks/corruptions.py [--images 1000] [--repeats 5] [--size 32] [--severity 3]`. Both columns
come from the same run, one thread each, medians over the repeats, which alternate between the two. The
baselines are written in the plain way, with the same formula and constants: a loop over images, scipy's
functions inside, and a loop over pixels where the formula visits pixels in order. Slow baselines are timed on
fewer images.
"""

import argparse
import os
import statistics
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
from scipy import ndimage  # noqa: E402

from mutatis.shift.corruptions import CIFAR, CORRUPTIONS, TINY_IMAGENET, corrupt  # noqa: E402
from mutatis.shift.corruptions._blur import disc_kernel  # noqa: E402


def truncated(values):
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)


def gaussian_blur(image, rng, sigma):
    return truncated(ndimage.gaussian_filter(image / 255, (sigma, sigma, 0), mode="nearest"))


def defocus_blur(image, rng, radius, softness):
    kernel = disc_kernel(radius, softness)
    return truncated(
        np.stack([ndimage.correlate(image[..., c] / 255, kernel, mode="mirror") for c in range(3)], axis=-1)
    )


def glass_blur(image, rng, sigma, reach, passes):
    image = truncated(ndimage.gaussian_filter(image / 255, (sigma, sigma, 0), mode="nearest"))
    for _ in range(passes):
        for row in range(image.shape[0] - reach, reach, -1):
            for column in range(image.shape[1] - reach, reach, -1):
                down, across = rng.integers(-reach, reach, 2)
                image[row, column] = image[row + down, column + across]
    return truncated(ndimage.gaussian_filter(image / 255, (sigma, sigma, 0), mode="nearest"))


def motion_blur(image, rng, radius, sigma):
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angle = np.deg2rad(rng.uniform(-45, 45))
    rows, columns = np.indices(image.shape[:2])
    blurred = np.zeros(image.shape)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        down = int(np.ceil(step * np.sin(angle) - 0.5))
        across = int(np.ceil(step * np.cos(angle) - 0.5))
        near = np.clip(rows + down, 0, len(image) - 1), np.clip(columns + across, 0, len(image) - 1)
        blurred += weight * image[near]
    return np.rint(blurred).astype(np.uint8)


def zoom_blur(image, rng, end):
    pixels, size = image / 255, len(image)
    total, factors = pixels.copy(), np.arange(1, end, 0.01)
    for factor in factors:
        crop = int(np.ceil(size / factor))
        top = (size - crop) // 2
        zoomed = ndimage.zoom(pixels[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
        trim = (len(zoomed) - size) // 2
        total += zoomed[trim : trim + size, trim : trim + size]
    return truncated(total / (len(factors) + 1))


def elastic_transform(image, rng, amplitude, sigma, jitter):
    size = len(image)
    corners = size // 2 + size // 3 * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = np.column_stack([corners + rng.uniform(-jitter, jitter, (3, 2)), np.ones(3)])
    matrix = np.linalg.solve(moved, corners).T[::-1][:, [1, 0, 2]]
    shift = [
        amplitude * ndimage.gaussian_filter(rng.uniform(-1, 1, (size, size)), sigma, mode="reflect", truncate=3)
        for _ in range(2)
    ]
    at = np.indices((size, size)) + np.array(shift)
    channels = []
    for c in range(3):
        mapped = ndimage.affine_transform(image[..., c] / 255, matrix, order=1, mode="mirror")
        channels.append(ndimage.map_coordinates(mapped, at, order=1, mode="reflect"))
    return truncated(np.stack(channels, axis=-1))


# Function, and the share of the images it is timed on.
BASELINES = {
    "gaussian_blur": (gaussian_blur, 1.0),
    "defocus_blur": (defocus_blur, 1.0),
    "glass_blur": (glass_blur, 0.05),
    "motion_blur": (motion_blur, 0.5),
    "zoom_blur": (zoom_blur, 0.2),
    "elastic_transform": (elastic_transform, 0.5),
}


def seconds_per_image(work, count):
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / count


def measure(corruption, images, severity, table, repeats):
    """Median images per second of ours and of the baseline (`None` where there is none)."""
    parameters = table.levels[corruption][severity - 1]
    baseline, share = BASELINES.get(corruption, (None, 0.0))
    few = images[: max(1, int(share * len(images)))]
    ours, theirs = [], []
    corrupt(images[:2], corruption, severity, table=table, seed=0)  # builds the cached operators
    for repeat in range(repeats):
        ours.append(
            seconds_per_image(lambda s=repeat: corrupt(images, corruption, severity, table=table, seed=s), len(images))
        )
        if baseline is not None:
            rng = np.random.default_rng(repeat)
            theirs.append(seconds_per_image(lambda rng=rng: [baseline(x, rng, *parameters) for x in few], len(few)))
    return 1 / statistics.median(ours), (1 / statistics.median(theirs) if theirs else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=32, choices=(32, 64))
    parser.add_argument("--severity", type=int, default=3, choices=range(1, 6))
    options = parser.parse_args()
    table = CIFAR if options.size == 32 else TINY_IMAGENET
    noise = np.random.default_rng(0).normal(size=(options.images, options.size, options.size, 3))
    fields = ndimage.gaussian_filter(noise, (0, 2, 2, 0))
    images = np.clip(128 + 40 * fields / fields.std(), 0, 255).astype(np.uint8)
    print(f"{options.images} images of {options.size} x {options.size}, severity {options.severity}, ", end="")
    print(f"medians of {options.repeats}, images per second")
    print(f"{'corruption':20}{'ours':>10}{'one at a time':>16}{'ratio':>9}")
    total = 0.0
    for corruption in CORRUPTIONS:
        rate, reference = measure(corruption, images, options.severity, table, options.repeats)
        total += 1 / rate
        beside = f"{reference:16.0f}{rate / reference:9.1f}" if reference else ""
        print(f"{corruption:20}{rate:10.0f}{beside}", flush=True)
    print(f"all 19, five severities at this one's cost, 10,000 images: {total * 5 * 10_000 / 60:.1f} minutes")


if __name__ == "__main__":
    main()
