"""Looking up what a user named."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def find(table: Mapping[str, T], name: Any, argument: str) -> T:
    """The entry of this name.

    **Raises:** `ValueError` that names the argument, the nearest names and all others.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name), list(table), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ValueError(f"{argument}={name!r} is not known; {hint}Pass an object, or one of: {', '.join(table)}.")
