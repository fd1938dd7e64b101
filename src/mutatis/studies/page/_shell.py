"""What every page has around its contents."""

from importlib.resources import files
from pathlib import Path

from mutatis.studies._store import write_whole
from mutatis.studies.page._markup import Markup, element, raw


def write_page(out: Path, title: str, *body: Markup | None) -> Path:
    """Write one self-contained HTML page, whole or not at all, and return where it is."""
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · mutatis"),
        element("link", rel="icon", href="data:,"),
        element("style", raw(own_text("_page.css"))),
    )
    write_whole(out, f"<!doctype html>\n{element('html', head, element('body', *body), lang='en')}\n")
    return out


def own_text(name: str) -> str:
    """A file that lies beside this one: the pages' styles, their program."""
    return files("mutatis.studies.page").joinpath(name).read_text(encoding="utf-8")
