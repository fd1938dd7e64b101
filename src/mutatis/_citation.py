"""What to cite: every method says its own sources, and `citation` collects those of the parts in use."""

import dataclasses
import importlib.metadata
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])

_ATTRIBUTE = "__bibtex__"


def cites(*entries: str) -> Callable[[T], T]:
    """Decorates a class or a function with the BibTeX entries of its sources.

    A subclass does not inherit them: it is another method.
    """

    def mark(part: T) -> T:
        setattr(part, _ATTRIBUTE, entries)
        return part

    return mark


def citation(*parts: Any) -> str:
    """BibTeX of this library and of every method found in the parts, each once, in the order met.

    - `parts`: learners, rules, weightings, directions, or any nesting of them.

    ```python
    >>> import mutatis
    >>> print(mutatis.citation(mutatis.GroupDRO()).count("@inproceedings"))
    1

    ```
    """
    found = dict.fromkeys([_own()])
    for part in parts:
        found |= dict.fromkeys(_entries(part))
    return "\n\n".join(found)


def _own() -> str:
    return f"""\
@software{{mutatis,
  title   = {{Mutatis: models that adapt, in {{JAX}}}},
  author  = {{{{The Mutatis authors}}}},
  version = {{{importlib.metadata.version("mutatis")}}},
  year    = {{2026}}
}}"""


def _entries(part: Any) -> Iterator[str]:
    kind = part if isinstance(part, type | types.FunctionType) else type(part)
    yield from vars(kind).get(_ATTRIBUTE, ())
    for inner in _inside(part):
        yield from _entries(inner)


def _inside(part: Any) -> list[Any]:
    # Fields and not tree leaves, because a static field (`where=`, an inner objective) may be a method too.
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        return [getattr(part, field.name) for field in dataclasses.fields(part)]
    if isinstance(part, Mapping):
        return list(part.values())
    return list(part) if isinstance(part, list | tuple) else []
