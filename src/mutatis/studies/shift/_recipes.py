"""The studies of group shift that can be run by name: which data, which sizes, which settings."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mutatis.shift import data as readers
from mutatis.shift._groups import GroupedData
from mutatis.studies.shift._study import ShiftStudy

# Reading costs seconds and the seeds of a method run in one process: each data set is read once there.
_read = functools.lru_cache(maxsize=2)(lambda reader, **settings: reader(**settings))


@dataclass(frozen=True, kw_only=True)
class Digits(ShiftStudy):
    """Small handwritten digits at rotations never seen in training; the data are embedded, minutes on two cores."""

    name: ClassVar[str] = "digits"
    methods: tuple[str, ...] = ("ERM", "DRNN", "ARM-CML", "ARM-BN", "ARM-LL")
    at_test: tuple[str, ...] = ("BN adaptation",)
    steps: int = 300
    learning_rate: float = 3e-3
    test_supports: tuple[int, ...] = (1, 5, 10, 50)
    width: int = 16
    context_width: int = 16
    context_channels: int = 4
    hidden: int = 64
    kernel_size: int = 3
    division: int = 0
    """Seed of the division into images to learn from, to choose by and to be judged on. The same for all seeds, as that
    of a benchmark is, so that intervals speak of training and not of which 500 images were drawn."""

    def data(self, seed: int) -> GroupedData:
        """Scikit-learn's digits, turned."""
        del seed
        return _read(readers.rotated_digits, seed=self.division)


@dataclass(frozen=True, kw_only=True)
class RotatedMnist(ShiftStudy):
    """Rotated MNIST: 14 rotations, the large ones rare in training (Zhang et al. 2021, final protocol)."""

    name: ClassVar[str] = "rotated-mnist"
    seeds: int = 3
    steps: int = 21_400
    learning_rate: float = 1e-4
    evaluate_every: int = 1070
    selection: str = "worst"
    test_images: int = 0
    """Test images of each rotation; 0 takes all 10,000."""
    reproduce_indexing: bool = False
    """The original's test indexing: each rotation is judged on one of three disjoint thirds of the images."""

    def data(self, seed: int) -> GroupedData:
        """Rotated MNIST from the official files."""
        return _read(
            readers.rotated_mnist,
            data_dir=self.data_dir,
            seed=seed,
            reproduce_indexing=self.reproduce_indexing,
            test_images_per_group=self.test_images or None,
        )


@dataclass(frozen=True, kw_only=True)
class MnistByWriter(ShiftStudy):
    """MNIST digits of 297 writers never seen in training (QMNIST's writer ids)."""

    name: ClassVar[str] = "mnist-by-writer"
    seeds: int = 3
    width: int = 32
    context_width: int = 16
    test_supports: tuple[int, ...] = (1, 5, 10, 50)

    def data(self, seed: int) -> GroupedData:
        """MNIST joined with QMNIST's writers."""
        return _read(readers.mnist_by_writer, data_dir=self.data_dir, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Femnist(ShiftStudy):
    """FEMNIST: 62 characters of writers never seen in training (LEAF's files)."""

    name: ClassVar[str] = "femnist"
    seeds: int = 3
    groups_per_step: int = 2
    context_channels: int = 1
    steps: int = 125_400
    evaluate_every: int = 627
    selection: str = "worst"

    def data(self, seed: int) -> GroupedData:
        """FEMNIST; the split into writers is given by the files."""
        del seed
        return _read(readers.femnist, data_dir=self.data_dir)


@dataclass(frozen=True, kw_only=True)
class Cifar10C(ShiftStudy):
    """CIFAR-10 under 22 corruptions never seen in training: 56 others to learn from, 17 to choose by."""

    name: ClassVar[str] = "cifar-10-c"
    seeds: int = 3
    groups_per_step: int = 3
    support: int = 100
    context_channels: int = 3
    steps: int = 18_600
    evaluate_every: int = 186
    selection: str = "worst"
    batches: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Which of CIFAR-10's five training files to read."""
    published: bool = False
    """Read the test groups from the published CIFAR-10-C files instead of making them."""
    images: int = 1000
    """Images of each training group."""
    validation_images: int = 1000
    """Images of each validation group."""
    test_images: int = 0
    """Images of each test group; 0 takes all there are."""

    def data(self, seed: int) -> GroupedData:
        """CIFAR-10, corrupted by this library."""
        return _read(
            readers.cifar10_c,
            data_dir=self.data_dir,
            seed=seed,
            batches=self.batches,
            published=self.published,
            images_per_group=self.images,
            validation_images_per_group=self.validation_images,
            test_images_per_group=self.test_images or None,
        )


@dataclass(frozen=True, kw_only=True)
class TinyImagenetC(ShiftStudy):
    """Tiny ImageNet under 22 corruptions never seen in training: 51 others to learn from, 17 to choose by."""

    name: ClassVar[str] = "tiny-imagenet-c"
    seeds: int = 3
    groups_per_step: int = 3
    support: int = 100
    context_channels: int = 3
    steps: int = 17_000
    evaluate_every: int = 340
    selection: str = "worst"
    published: bool = False
    """Read the test groups from the published Tiny ImageNet-C folders instead of making them."""

    def data(self, seed: int) -> GroupedData:
        """Tiny ImageNet and Tiny ImageNet-C from their folders."""
        return _read(readers.tiny_imagenet_c, data_dir=self.data_dir, seed=seed, published=self.published)


@dataclass(frozen=True, kw_only=True)
class Arrays(ShiftStudy):
    """Your own arrays: an .npz file with X, y and groups, divided by groups."""

    name: ClassVar[str] = "arrays"
    file: Path = Path("data.npz")
    """The .npz file, with arrays X (rows, ...), y (rows,) and groups (rows,)."""
    width: int = 32
    context_width: int = 16

    def data(self, seed: int) -> GroupedData:
        """The file, divided by groups into training, validation and test."""
        return _read(readers.from_npz, path=self.file, seed=seed)


SHIFT_STUDIES = (Digits, RotatedMnist, MnistByWriter, Femnist, Cifar10C, TinyImagenetC, Arrays)
