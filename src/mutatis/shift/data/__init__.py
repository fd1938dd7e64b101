"""Readers: official files in, arrays with groups out. Nothing is downloaded."""

from mutatis.shift.data._mnist_by_writer import mnist_by_writer as mnist_by_writer
from mutatis.shift.data._mnist_by_writer import writer_series as writer_series
from mutatis.shift.data._rotated_digits import rotated_digits as rotated_digits
from mutatis.shift.data._rotated_mnist import rotated_mnist as rotated_mnist
