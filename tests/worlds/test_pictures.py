"""Sheets, films and the gallery."""

import importlib.util
import subprocess

import numpy as np
import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")
pytest.importorskip("mujoco", reason="mujoco is not installed")

from PIL import Image

from mutatis.__main__ import main
from mutatis.worlds._gallery import episodes, gallery, video
from mutatis.worlds._pictures import contact_sheet, save_picture, save_video, sheet_margins
from mutatis.worlds._render import NoGraphicsError, Renderer

PAPER = (250, 250, 248)


def plain(*colours, height=40, width=60):
    return [np.full((height, width, 3), colour, np.uint8) for colour in colours]


def film(frames=7, height=41, width=63):
    """Each frame another grey, with a black square that moves."""
    result = [np.full((height, width, 3), 40 + 25 * k, np.uint8) for k in range(frames)]
    for k, frame in enumerate(result):
        frame[10:20, 4 * k : 4 * k + 10] = 0
    return result


@pytest.fixture
def graphics():
    pose = episodes("reach")[0].poses[0]
    renderer = Renderer()
    try:
        renderer(pose, width=8, height=8)
    except NoGraphicsError as error:
        pytest.skip(str(error))
    finally:
        renderer.close()


def test_a_sheet_shows_every_picture_over_its_label():
    frames = plain((255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9), (0, 99, 99), width=120)
    labels = ["red", "green", "", "a label much too long for its picture", "e"]
    sheet = contact_sheet(frames, labels, columns=3)
    margin, line = sheet_margins(120)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * (40 + line) + 3 * margin, 3 * 120 + 4 * margin, 3)
    covered = np.zeros(sheet.shape[:2], bool)
    for k, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        row, column = divmod(k, 3)
        top, left = margin + row * (40 + line + margin), margin + column * (120 + margin)
        assert np.array_equal(sheet[top : top + 40, left : left + 120], frame)
        written = sheet[top + 40 : top + 40 + line, left : left + 120]
        assert (written < 150).any() == bool(label)
        covered[top : top + 40 + line, left : left + 120] = True
    assert (sheet[~covered] == PAPER).all()  # the margins are free


def test_a_sheet_has_no_empty_columns():
    assert contact_sheet(plain((1, 2, 3)), ["one"], columns=10).shape[1] == 60 + 2 * sheet_margins(60)[0]


def test_sheets_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"frames: .* at least one; not none"):
        contact_sheet([], [], 3)
    with pytest.raises(ValueError, match="frames: "):
        contact_sheet([*plain(1), *plain(1, width=61)], ["a", "b"], 3)
    with pytest.raises(ValueError, match="labels: 1 for 2 pictures"):
        contact_sheet(plain(1, 2), ["a"], 3)
    with pytest.raises(ValueError, match="columns: must be at least 1"):
        contact_sheet(plain(1), ["a"], 0)


def test_a_picture_can_be_read_back(tmp_path):
    picture = film()[3]
    with Image.open(save_picture(tmp_path / "a.png", picture)) as image:
        assert np.array_equal(np.array(image), picture)
    with Image.open(save_picture(tmp_path / "a.JPG", picture)) as image:
        assert image.size == (63, 41)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.JPG", "a.png"]
    with pytest.raises(ValueError, match=r"path: a.mp4 should end in .png or .jpg"):
        save_picture(tmp_path / "a.mp4", picture)


def test_a_film_can_be_read_back(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed").get_ffmpeg_exe()
    frames = film()
    file = save_video(tmp_path / "a.mp4", frames, 10)
    program = [ffmpeg, "-i", str(file), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    read = subprocess.run(program, capture_output=True, check=True)
    facts = read.stderr.decode()
    assert "h264" in facts and "yuv420p" in facts and "64x42" in facts and "10 fps" in facts
    shown = np.frombuffer(read.stdout, np.uint8).reshape(-1, 42, 64, 3)
    assert len(shown) == len(frames)
    for frame, original in zip(shown, frames, strict=True):
        assert np.abs(frame[:41, :63].astype(int) - original).mean() < 4
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_an_animation_can_be_read_back(tmp_path):
    frames = film()
    with Image.open(save_video(tmp_path / "a.gif", frames, 20)) as image:
        assert (image.size, image.n_frames, image.info["duration"], image.info["loop"]) == ((63, 41), 7, 50, 0)
        for k, original in enumerate(frames):
            image.seek(k)
            assert np.abs(np.array(image.convert("RGB")).astype(int) - original).max() < 12


def test_films_that_make_no_sense_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"path: a.avi should end in .mp4 or .gif"):
        save_video(tmp_path / "a.avi", film(), 10)
    with pytest.raises(ValueError, match=r"frames: .* at least one"):
        save_video(tmp_path / "a.gif", [], 10)
    with pytest.raises(OSError, match="No such file or directory"):
        save_video(tmp_path / "nowhere" / "a.mp4", film(), 10)
    with pytest.raises(ValueError, match=r"frames_per_second: must be above 0 and at most 50 for .gif, not 80"):
        save_video(tmp_path / "a.gif", film(), 80)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "imageio_ffmpeg" else find(name))
    with pytest.raises(ModuleNotFoundError, match=r"path: a.mp4 needs imageio-ffmpeg.*pip install 'mutatis\[worlds\]'"):
        save_video(tmp_path / "a.mp4", film(), 10)
    assert not list(tmp_path.iterdir())


def test_experts_are_filmed_until_they_succeed():
    (first, second) = episodes(["reach", "peg-insert-side"])
    assert (first.task, second.task) == ("reach", "peg-insert-side")
    for episode in (first, second):
        assert episode.solved is not None
        assert episode.solved < len(episode.poses) <= episode.solved + 13
    distance = [np.linalg.norm(pose.mocap_pos[0] - pose.target) for pose in first.poses]
    assert distance[first.solved] < 0.1 < distance[0]


def test_the_gallery_and_the_film_show_every_task(graphics):
    del graphics
    names, size = ["reach", "drawer-close", "door-lock"], {"width": 64, "height": 48}
    margin, line = sheet_margins(64)
    shape = (2 * (48 + line) + 3 * margin, 2 * 64 + 3 * margin, 3)
    sheet = gallery(names, columns=2, **size)
    frames = video(names, columns=2, every=16, **size)
    longest = max(len(episode.poses) for episode in episodes(names))
    assert sheet.shape == shape
    assert len(frames) == -(-longest // 16)
    assert all(frame.shape == shape for frame in frames)
    tiles = sheet[margin : margin + 48, margin : margin + 64], frames[0][margin : margin + 48, margin : margin + 64]
    assert tiles[0].std() > 10 and tiles[1].std() > 10 and not np.array_equal(*tiles)
    assert not np.array_equal(frames[0][48 + margin : 48 + line], frames[-1][48 + margin : 48 + line])  # "(solved)"


def test_the_command_writes_pictures_and_films(graphics, tmp_path, capsys):
    del graphics
    pytest.importorskip("tyro", reason="tyro is not installed")
    pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    assert main(["gallery", "reach", "--out", str(tmp_path / "new" / "here")]) == 0
    files = [tmp_path / "new" / "here" / name for name in ("gallery.png", "experts.mp4", "experts.gif")]
    assert capsys.readouterr().out.splitlines() == [str(file) for file in files]
    assert all(file.stat().st_size > 1000 for file in files)
