"""What one kind of results adds to the page of a study."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mutatis.studies._results import Results
from mutatis.studies.page._charts import Style
from mutatis.studies.page._markup import Markup, element


@dataclass(frozen=True)
class Part:
    """A share of the page's head, and the sections below it.

    - `basis`: how much the numbers rest on, in a sentence.
    - `finding`: what was found, in words.
    - `sections`: from the numbers to the pictures.
    """

    basis: str
    finding: Markup | None
    sections: Sequence[Markup | None]


Kind = Callable[[Results, Mapping[str, Style], str], Part | None]
"""Results, the looks of the methods and an anchor that sets ids apart from those of other studies; `None` where
there are no such results."""


def finding_list(sentences: Iterable[str]) -> Markup | None:
    """What was found, one line each."""
    lines = [element("li", said) for said in sentences]
    return element("ul", lines, class_="finding") if lines else None
