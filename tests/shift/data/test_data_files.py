"""Finding, reading and refusing files."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from mutatis._data_files import DataFolder, optional, read_idx

VALUES = np.arange(2 * 3 * 4, dtype=">i4").reshape(2, 3, 4)
CONTENT = bytes([0, 0, 0x0C, 3]) + struct.pack(">3I", 2, 3, 4) + VALUES.tobytes()


def read(root, content=CONTENT, name="things-idx3-int", dtype=">i4", shape=(2, 3, 4), **kwargs):
    (root / name).write_bytes(content)
    return read_idx(DataFolder(root), "things-idx3-int", ("sub",), "two things", dtype=dtype, shape=shape, **kwargs)


def test_idx_plain_and_gzip(tmp_path):
    np.testing.assert_array_equal(read(tmp_path), VALUES)
    (tmp_path / "things-idx3-int").unlink()
    np.testing.assert_array_equal(read(tmp_path, gzip.compress(CONTENT), "things-idx3-int.gz"), VALUES)
    # A .gz that a browser unpacked on the way, its name kept.
    np.testing.assert_array_equal(read(tmp_path, CONTENT, "things-idx3-int.gz"), VALUES)


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
def test_idx_types(tmp_path, code, dtype):
    values = np.array([1, 2, 100], dtype)
    content = bytes([0, 0, code, 1]) + struct.pack(">I", 3) + values.tobytes()
    array = read(tmp_path, content, dtype=dtype, shape=(None,))
    assert array.dtype == values.dtype
    np.testing.assert_array_equal(array, [1, 2, 100])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "nothing, which is no IDX header"),
        (b"<html>not here</html>", "no IDX header"),
        (CONTENT[:10], "inside its header"),
        (CONTENT[:-1], "111 bytes unpacked where its header promises 112"),
        (CONTENT + b"\0", "113 bytes unpacked where its header promises 112"),
        (gzip.compress(CONTENT, mtime=0)[:-20], "does not unpack"),
        (gzip.compress(CONTENT, mtime=0)[:40] + b"x" * 40, "does not unpack"),
        (
            bytes([0, 0, 0x0C, 3]) + struct.pack(">3I", 3, 3, 4) + bytes(144),
            r"shape \(3, 3, 4\), not int32 of \(2",
        ),
        (bytes([0, 0, 0x0C, 1]) + struct.pack(">I", 2) + bytes(8), r"shape \(2,\), not"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 3, 4) + bytes(24), "uint8 of shape"),
    ],
    ids=["empty", "html", "header", "short", "long", "cut", "garbled", "type", "shape", "size"],
)
def test_damaged_idx_is_refused(tmp_path, content, why):
    with pytest.raises(ValueError, match=why) as error:
        read(tmp_path, content)
    for part in ("things-idx3-int", str(tmp_path), "two things", "docs/data.md"):
        assert part in str(error.value)


def test_content_is_compared_with_the_official_digest(tmp_path):
    digest = hashlib.sha256(CONTENT).hexdigest()
    (tmp_path / "things-idx3-int.gz").write_bytes(gzip.compress(CONTENT, 1))
    (tmp_path / "other").mkdir()
    read_idx(DataFolder(tmp_path), "things-idx3-int", (), "x", dtype=">i4", shape=(2, 3, 4), digest=digest)
    changed = CONTENT[:-1] + b"\xff"
    with pytest.raises(ValueError, match="differs from the official"):
        read(tmp_path / "other", changed, digest=digest)


def test_missing_file_names_every_place(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        read_idx(DataFolder(tmp_path), "a-idx1-ubyte", ("one", "two"), "the labels", dtype="u1", shape=(3,))
    message = str(error.value)
    for place in ("one/a-idx1-ubyte.gz", "two/a-idx1-ubyte", "a-idx1-ubyte", "the labels", "docs/data.md"):
        assert place in message


def test_folder_comes_before_root_and_checksums_are_of_the_bytes_on_disk(tmp_path):
    (tmp_path / "sub").mkdir()
    packed = gzip.compress(CONTENT)
    (tmp_path / "sub" / "things-idx3-int.gz").write_bytes(packed)
    (tmp_path / "things-idx3-int").write_bytes(b"never read")
    folder = DataFolder(tmp_path)
    read_idx(folder, "things-idx3-int", ("sub",), "two things", dtype=">i4", shape=(2, None, 4))
    assert folder.checksums == {"sub/things-idx3-int.gz": hashlib.sha256(packed).hexdigest()}


def test_data_directory_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("MUTATIS_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="MUTATIS_DATA is not set"):
        DataFolder()
    monkeypatch.setenv("MUTATIS_DATA", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match=r"MUTATIS_DATA=.*absent' is not a directory"):
        DataFolder()
    monkeypatch.setenv("MUTATIS_DATA", str(tmp_path))
    assert DataFolder().root == tmp_path
    with pytest.raises(FileNotFoundError, match=r"data_dir=.*elsewhere"):
        DataFolder(tmp_path / "elsewhere")


def test_absent_package_names_the_extra():
    with pytest.raises(ImportError, match=r"needs no_such_package: pip install 'mutatis\[studies\]'"):
        optional("no_such_package.part")


def test_import_loads_no_optional_package():
    import subprocess
    import sys

    code = "import sys, mutatis.shift.data; print([m for m in ('scipy', 'sklearn', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
