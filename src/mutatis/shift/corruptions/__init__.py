"""The 19 common image corruptions at five severities, vectorised over images."""

try:
    import PIL  # noqa: F401
    import scipy  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"mutatis.shift.corruptions needs {error.name}, which is not installed; "
        "install it with: pip install 'mutatis[studies]'"
    ) from error

from ._corrupt import corrupt as corrupt
from ._tables import CIFAR as CIFAR
from ._tables import CORRUPTIONS as CORRUPTIONS
from ._tables import TINY_IMAGENET as TINY_IMAGENET
from ._tables import CorruptionTable as CorruptionTable
