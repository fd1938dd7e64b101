"""Omniglot: handwritten characters of many alphabets, each drawn once by twenty people."""

import io
import os
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mutatis._data_files import DOCS, DataFolder, damaged, optional

TRAIN_ALPHABETS = ("Balinese", "Japanese_(katakana)", "Korean", "Latin")
VALIDATION_ALPHABETS = ("Early_Aramaic", "Tagalog")
TEST_ALPHABETS = ("Greek", "Sanskrit")

_ARCHIVES = (
    "images_background.zip",
    "images_background_small1.zip",
    "images_background_small2.zip",
    "images_evaluation.zip",
)
_MEMBER = re.compile(r"[^/]+/(?P<alphabet>[^/]+)/(?P<name>character\d+)/\d+_(?P<drawer>\d+)\.png")
_DRAWERS, _SIDE = 20, 105
_FORM = (
    f"an official zip of Omniglot: alphabet/characterNN/NNNN_DD.png, {_DRAWERS} drawers DD for each character, "
    f"images of {_SIDE}x{_SIDE} pixels"
)

_Character = tuple[str, str]  # alphabet, character


@dataclass(frozen=True, eq=False)
class Characters:
    """Characters of some alphabets, drawn by the same number of people.

    - `images`: `uint8 (characters, drawers, 105, 105)`, 1 where there is ink; sorted by alphabet, then character.
    - `alphabets`, `names`: for each character its alphabet, and its name there (`"character01"`).
    - `checksums`: SHA-256 of every file that was read, by its path below the data directory.
    """

    images: np.ndarray
    alphabets: tuple[str, ...]
    names: tuple[str, ...]
    checksums: dict[str, str]

    def __len__(self) -> int:
        return len(self.names)

    def of(self, alphabets: Iterable[str]) -> "Characters":
        """The characters of some alphabets, in the same order; raises `ValueError` if one is not among these."""
        wanted = set(alphabets)
        if not wanted or not wanted <= set(self.alphabets):
            raise ValueError(
                f"alphabets: {', '.join(sorted(wanted - set(self.alphabets))) or 'none'} asked for, but the files read "
                f"({', '.join(self.checksums)}) hold {', '.join(sorted(set(self.alphabets)))}; name some of these, or "
                "add the zip that holds the others."
            )
        rows = [row for row, alphabet in enumerate(self.alphabets) if alphabet in wanted]
        pick = lambda labels: tuple(labels[row] for row in rows)
        return replace(self, images=self.images[rows], alphabets=pick(self.alphabets), names=pick(self.names))

    def split(
        self,
        train: Sequence[str] = TRAIN_ALPHABETS,
        validation: Sequence[str] = VALIDATION_ALPHABETS,
        test: Sequence[str] = TEST_ALPHABETS,
    ) -> tuple["Characters", "Characters", "Characters"]:
        """Characters to learn from, to choose by and to test, of alphabets that no two parts share.

        The defaults divide the 8 alphabets of the two `images_background_small` zips into 137, 39 and 66 characters.

        **Raises:** `ValueError` if an alphabet is in two parts, or not among these.
        """
        parts = {"train": train, "validation": validation, "test": test}
        seen: dict[str, str] = {}
        for part, alphabets in parts.items():
            for alphabet in alphabets:
                if alphabet in seen:
                    raise ValueError(
                        f"{alphabet} is in {seen[alphabet]} and in {part}; give each alphabet to one part, or new "
                        "characters are not new."
                    )
                seen[alphabet] = part
        return self.of(train), self.of(validation), self.of(test)


def omniglot(data_dir: str | os.PathLike | None = None) -> Characters:
    """All characters of the official zips found in `data_dir/omniglot/`, or in `data_dir` itself.

    - `data_dir`: if `None`, the environment variable `MUTATIS_DATA` names it.

    Reads whichever of `images_background.zip` (964 characters), `images_background_small1.zip`,
    `images_background_small2.zip` (242 different ones together) and `images_evaluation.zip` (659) are there. An
    alphabet that several of them hold counts once. Nothing is downloaded or written.

    **Raises:** `FileNotFoundError` if there is none of them; `ValueError` if one is damaged, or two hold one alphabet
    with different pixels; `ImportError` without the `studies` extra.

    Source: B. Lake, R. Salakhutdinov and J. Tenenbaum, Human-level concept learning through probabilistic program
    induction (Science, 2015).
    """
    folder = DataFolder(data_dir)
    characters: dict[_Character, np.ndarray] = {}
    origin: dict[str, Path] = {}
    for path in _found(folder.root):
        read = _read(path, folder.read(path))
        for alphabet in {alphabet for alphabet, _ in read}:
            _check_same(alphabet, characters, read, origin.setdefault(alphabet, path), path)
        characters |= read
    keys = sorted(characters)
    alphabets, names = zip(*keys, strict=True)
    return Characters(np.stack([characters[key] for key in keys]), alphabets, names, folder.checksums)


def _found(root: Path) -> list[Path]:
    tried = {name: [root / "omniglot" / name, root / name] for name in _ARCHIVES}
    found = [next((path for path in paths if path.exists()), None) for paths in tried.values()]
    if any(found):
        return [path for path in found if path]
    raise FileNotFoundError(
        f"no zip of Omniglot under data_dir={str(root)!r}. Looked for:\n"
        + "".join(f"  {path}\n" for paths in tried.values() for path in paths)
        + f"Put at least one of them, {_FORM}, into the folder omniglot. {DOCS}"
    )


def _read(path: Path, content: bytes) -> dict[_Character, np.ndarray]:
    """The drawings `(20, 105, 105)` of every character in a zip."""
    drawings: dict[_Character, dict[int, np.ndarray]] = defaultdict(dict)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                if match := _MEMBER.fullmatch(member):
                    key = match["alphabet"], match["name"]
                    drawings[key][int(match["drawer"])] = _ink(path, member, archive.read(member))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise damaged(path, _FORM, f"it does not unpack ({error}).") from error
    if not drawings:
        raise damaged(path, _FORM, "it holds no image of a character.")
    for (alphabet, name), drawn in drawings.items():
        if sorted(drawn) != list(range(1, _DRAWERS + 1)):
            raise damaged(path, _FORM, f"{alphabet}/{name} has {len(drawn)} drawings, by the drawers {sorted(drawn)}.")
    return {key: np.stack([drawn[drawer] for drawer in sorted(drawn)]) for key, drawn in drawings.items()}


def _ink(path: Path, member: str, content: bytes) -> np.ndarray:
    pillow = optional("PIL.Image")
    try:
        pixels = np.asarray(pillow.open(io.BytesIO(content)).convert("L"))
    except (OSError, SyntaxError, ValueError) as error:  # all of which Pillow raises for broken files
        raise damaged(path, _FORM, f"{member} is no image ({error}).") from error
    if pixels.shape != (_SIDE, _SIDE):
        raise damaged(path, _FORM, f"{member} has {pixels.shape[0]}x{pixels.shape[1]} pixels.")
    return (pixels < 128).astype(np.uint8)


def _check_same(alphabet: str, before: dict, read: dict, first: Path, path: Path) -> None:
    if first == path:
        return
    mine, theirs = ({key: drawn for key, drawn in part.items() if key[0] == alphabet} for part in (before, read))
    if mine.keys() != theirs.keys() or any((mine[key] != theirs[key]).any() for key in mine):
        raise damaged(
            path, _FORM, f"its {alphabet} differs from that of {first.name}, though both should hold the same drawings."
        )
