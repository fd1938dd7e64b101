"""Readers: official files in, arrays with groups out. Nothing is downloaded."""

from mutatis.shift.data._arrays import from_arrays as from_arrays
from mutatis.shift.data._arrays import from_npz as from_npz
from mutatis.shift.data._cifar10_c import cifar10_c as cifar10_c
from mutatis.shift.data._corrupted import CIFAR10_C as CIFAR10_C
from mutatis.shift.data._corrupted import TINY_IMAGENET_C as TINY_IMAGENET_C
from mutatis.shift.data._corrupted import CorruptionSplit as CorruptionSplit
from mutatis.shift.data._femnist import femnist as femnist
from mutatis.shift.data._mnist_by_writer import mnist_by_writer as mnist_by_writer
from mutatis.shift.data._mnist_by_writer import writer_series as writer_series
from mutatis.shift.data._rotated_digits import rotated_digits as rotated_digits
from mutatis.shift.data._rotated_mnist import rotated_mnist as rotated_mnist
from mutatis.shift.data._tiny_imagenet_c import tiny_imagenet_c as tiny_imagenet_c
