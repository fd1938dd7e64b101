"""The reader on small files of the official form, on damaged ones, and on the official files."""

import hashlib
import io
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mutatis.symmetry._omniglot import omniglot

RNG = np.random.default_rng(0)
FIRST, SECOND = "images_background_small1", "images_background_small2"


def drawing():
    return (RNG.random((105, 105)) < 0.1).astype(np.uint8)


def png(ink):
    file = io.BytesIO()
    Image.fromarray(ink == 0).save(file, "PNG")  # one bit a pixel, strokes black
    return file.getvalue()


def members(archive, alphabet, number, inks):
    return {
        f"{archive}/{alphabet}/character{number:02d}/{number:04d}_{drawer:02d}.png": png(ink)
        for drawer, ink in enumerate(inks, 1)
    }


def write(folder, archive, content):
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{archive}.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{archive}/", "")
        for name, data in content.items():
            file.writestr(name, data)
    return folder / f"{archive}.zip"


GREEK, LATIN, TAGALOG = ([drawing() for _ in range(20)] for _ in range(3))
BOTH = {name: members(name, "Greek", 1, GREEK) for name in (FIRST, SECOND)}


def test_small_zips_are_merged_by_alphabet(tmp_path):
    folder = tmp_path / "omniglot"
    first = write(folder, FIRST, BOTH[FIRST] | members(FIRST, "Tagalog", 9, TAGALOG))
    extra = {f"__MACOSX/{SECOND}/Greek/character01/._0001_01.png": b"no image", f"{SECOND}/Greek/.DS_Store": b""}
    write(folder, SECOND, BOTH[SECOND] | members(SECOND, "Latin", 12, LATIN) | extra)
    data = omniglot(tmp_path)
    assert data.alphabets == ("Greek", "Latin", "Tagalog")
    assert data.names == ("character01", "character12", "character09")
    np.testing.assert_array_equal(data.images, np.array([GREEK, LATIN, TAGALOG]))
    assert data.images.dtype == np.uint8 and len(data) == 3
    assert data.checksums[f"omniglot/{FIRST}.zip"] == hashlib.sha256(first.read_bytes()).hexdigest()
    train, validation, test = data.split(["Latin"], ["Greek"], ["Tagalog"])
    assert [part.alphabets for part in (train, validation, test)] == [("Latin",), ("Greek",), ("Tagalog",)]
    np.testing.assert_array_equal(test.images[0], TAGALOG)


def test_any_subset_of_the_zips_in_the_folder_or_the_root(tmp_path):
    write(tmp_path, "images_evaluation", members("images_evaluation", "Atlantean", 1, LATIN))
    assert omniglot(tmp_path).alphabets == ("Atlantean",)
    assert list(omniglot(tmp_path).checksums) == ["images_evaluation.zip"]
    write(tmp_path / "omniglot", "images_background", members("images_background", "Arcadian", 1, GREEK))
    assert omniglot(tmp_path).alphabets == ("Arcadian", "Atlantean")


def test_no_file_names_every_place(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        omniglot(tmp_path)
    names = ("images_background", FIRST, SECOND, "images_evaluation")
    for place in (*(f"{tmp_path}/omniglot/{name}.zip" for name in names), "20 drawers", "docs/data.md"):
        assert place in str(error.value)


def changed(content, **changes):
    place = next(iter(content))
    return content | {place: changes["to"]} if "to" in changes else {k: v for k, v in content.items() if k != place}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({f"{FIRST}/readme.txt": b"hello"}, "it holds no image of a character"),
        (changed(BOTH[FIRST]), r"Greek/character01 has 19 drawings, by the drawers \[2, 3"),
        (changed(BOTH[FIRST], to=b"no image"), "0001_01.png is no image"),
        (changed(BOTH[FIRST], to=png(GREEK[0])[:150]), "0001_01.png is no image"),
        (changed(BOTH[FIRST], to=png(np.zeros((28, 28), np.uint8))), "0001_01.png has 28x28 pixels"),
    ],
    ids=["no images", "a drawer missing", "no png", "cut png", "another size"],
)
def test_damaged_content(tmp_path, content, message):
    path = write(tmp_path / "omniglot", FIRST, content)
    with pytest.raises(ValueError, match=message) as error:
        omniglot(tmp_path)
    assert str(path) in str(error.value) and "It should be an official zip of Omniglot" in str(error.value)


def test_damaged_zip(tmp_path):
    path = write(tmp_path / "omniglot", FIRST, BOTH[FIRST])
    whole = path.read_bytes()
    cut, flipped = whole[: len(whole) // 2], bytearray(whole)
    flipped[whole.index(b"0001_10.png") + 200] ^= 0xFF
    for damaged in (cut, bytes(flipped), b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{FIRST}.zip is damaged or is another file: it does not unpack"):
            omniglot(tmp_path)


@pytest.mark.parametrize("other", [members(SECOND, "Greek", 1, LATIN), members(SECOND, "Greek", 2, GREEK)])
def test_an_alphabet_that_differs_between_zips(tmp_path, other):
    write(tmp_path / "omniglot", FIRST, BOTH[FIRST])
    write(tmp_path / "omniglot", SECOND, other)
    with pytest.raises(ValueError, match=f"{SECOND}.zip .*its Greek differs from that of {FIRST}.zip"):
        omniglot(tmp_path)


def test_alphabets_that_cannot_be_had(tmp_path):
    write(tmp_path / "omniglot", FIRST, BOTH[FIRST])
    data = omniglot(tmp_path)
    with pytest.raises(ValueError, match=rf"Korean asked for, but the files read \(omniglot/{FIRST}.zip\) hold Greek"):
        data.of(["Greek", "Korean"])
    with pytest.raises(ValueError, match="Greek is in train and in test"):
        data.split(["Greek"], [], ["Greek"])
    with pytest.raises(ValueError, match="none asked for"):
        data.split(["Greek"], [], [])


def test_official_files(real_data):
    data = omniglot(real_data)
    assert data.images.shape == (242, 20, 105, 105) and data.images.max() == 1
    assert Counter(data.alphabets) == {
        "Balinese": 24,
        "Early_Aramaic": 22,
        "Greek": 24,
        "Japanese_(katakana)": 47,
        "Korean": 40,
        "Latin": 26,
        "Sanskrit": 42,
        "Tagalog": 17,
    }
    assert [len(part) for part in data.split()] == [137, 39, 66]
    # No two drawings are one: of characters that are in both zips one copy is left.
    assert len({drawn.tobytes() for character in data.images for drawn in character}) == 242 * 20
    published = [line.split() for line in (real_data / "SHA256SUMS").read_text().splitlines() if "omniglot" in line]
    assert data.checksums == {path.removeprefix("./"): digest for digest, path in published}


def test_alphabets_in_both_official_zips_are_identical(real_data):
    names = {}
    for archive in (FIRST, SECOND):
        with zipfile.ZipFile(real_data / "omniglot" / f"{archive}.zip") as file:
            for name in file.namelist():
                if name.endswith(".png") and ("/Greek/" in name or "/Latin/" in name):
                    names.setdefault(name.removeprefix(archive), []).append(Image.open(file.open(name)).tobytes())
    assert len(names) == (24 + 26) * 20
    assert all(len(copies) == 2 and copies[0] == copies[1] for copies in names.values())
