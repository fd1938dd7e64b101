"""Sheets of pictures, and files of pictures and films."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mutatis._whole_file import whole_file

_PAPER, _INK = (250, 250, 248), (45, 45, 48)
_GIF_COLOURS, _GIF_SAMPLES = 192, 12
"""Size of a GIF's palette, and how many of its frames the palette is made from."""
_WEBP_QUALITY = 60


def contact_sheet(frames: Sequence[np.ndarray], labels: Sequence[str], columns: int) -> np.ndarray:
    """Pictures side by side on light paper, each over its label.

    **Arguments:**

    - `frames`: n pictures of one size, (h, w, 3), uint8.
    - `labels`: a line for each; one that is too long for its picture is written smaller.
    - `columns`: pictures in a row; there are no more columns than pictures.

    **Returns:** The sheet, uint8. With r rows of c columns, margins m = max(4, w / 20) and lines of text of height t,
    it is r (h + t) + (r + 1) m pixels high and c w + (c + 1) m wide.

    **Raises:** `ValueError` if there are no pictures, or their sizes or the labels' number differ.
    """
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 3 or shape[2] != 3:
        raise ValueError(f"frames: needed are pictures (h, w, 3) of one size, at least one; not {shapes or 'none'}")
    if len(labels) != len(frames):
        raise ValueError(f"labels: {len(labels)} for {len(frames)} pictures; needed is one for each")
    if columns < 1:
        raise ValueError(f"columns: must be at least 1, not {columns}")
    height, width = shape[:2]
    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    margin, line = sheet_margins(width)
    size = (columns * (width + margin) + margin, rows * (height + line + margin) + margin)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    for k, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        row, column = divmod(k, columns)
        left, top = margin + column * (width + margin), margin + row * (height + line + margin)
        sheet.paste(Image.fromarray(np.asarray(frame, np.uint8)), (left, top))
        middle = (left + width / 2, top + height + line / 2)
        pen.text(middle, label, fill=_INK, font=_font(label, width, line), anchor="mm")
    return np.array(sheet)


def sheet_margins(width: int) -> tuple[int, int]:
    """Of a sheet of pictures of a width: its margins and the height of a line of text, in pixels."""
    return max(4, width // 20), max(16, round(width / 10))


def _font(label: str, width: int, line: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """As large as the line and the picture's width allow."""
    size = 0.62 * line
    length = ImageFont.load_default(size).getlength(label)
    return ImageFont.load_default(size * min(1.0, 0.95 * width / max(length, 1.0)))


def save_picture(path: str | Path, image: np.ndarray) -> Path:
    """Writes a picture, (h, w, 3), uint8, as .png or .jpg; the file is whole or not there.

    **Raises:** `ValueError` for another suffix.
    """
    path = _checked(path, (".png", ".jpg", ".jpeg"))
    with whole_file(path) as temporary:
        Image.fromarray(np.asarray(image, np.uint8)).save(temporary, optimize=True, quality=88)
    return path


def save_video(path: str | Path, frames: Sequence[np.ndarray], frames_per_second: float) -> Path:
    """Writes a film as .mp4 (H.264, for every browser) or .gif (few colours, endless); whole or not there.

    **Arguments:**

    - `path`: of the file, whose suffix decides.
    - `frames`: n pictures of one size, (h, w, 3), uint8. Where H.264, which wants even numbers, gets an odd height or
      width, the last row or column is doubled. In a GIF, a frame like the one before prolongs that one.
    - `frames_per_second`: above 0; of a GIF at most 50, and rounded to a whole number of hundredths of a second.

    **Raises:** `ValueError` for another suffix, no frames, frames of several sizes, or a speed out of range. `OSError`
    if the file cannot be written. `ModuleNotFoundError` if .mp4 needs a package that is not installed.
    """
    path = _checked(path, (".mp4", ".gif"))
    fastest = 50 if path.suffix.lower() == ".gif" else 240
    _check_film(frames, frames_per_second, fastest=fastest, kind=path.suffix)
    (_save_gif if path.suffix.lower() == ".gif" else _save_mp4)(path, frames, frames_per_second)
    return path


def film_bytes(frames: Sequence[np.ndarray], frames_per_second: float, *, pause: float = 1.0) -> bytes:
    """An endless film as an animated WebP: small, in all colours, for every browser.

    **Arguments:**

    - `frames`: n pictures of one size, (h, w, 3), uint8.
    - `frames_per_second`: above 0 and at most 100.
    - `pause`: seconds that the last frame stays longer than the others.

    **Raises:** `ValueError` for no frames, frames of several sizes, or a speed out of range.
    """
    _check_film(frames, frames_per_second, fastest=100, kind="a WebP")
    images = [Image.fromarray(np.asarray(frame, np.uint8)) for frame in frames]
    each = round(1000 / frames_per_second)
    durations = [*[each] * (len(images) - 1), each + round(1000 * pause)]
    buffer = io.BytesIO()
    # `method` trades time for size; more than 4 takes seconds for one percent.
    options = {"save_all": True, "append_images": images[1:], "loop": 0, "quality": _WEBP_QUALITY, "method": 4}
    images[0].save(buffer, "WEBP", duration=durations, **options)
    return buffer.getvalue()


def _check_film(frames: Sequence[np.ndarray], frames_per_second: float, *, fastest: float, kind: str) -> None:
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) != 1:
        raise ValueError(f"frames: needed are pictures (h, w, 3) of one size, at least one; not {shapes or 'none'}")
    if not 0 < frames_per_second <= fastest:
        raise ValueError(
            f"frames_per_second: must be above 0 and at most {fastest} for {kind}, not {frames_per_second}"
        )


def _save_mp4(path: Path, frames: Sequence[np.ndarray], frames_per_second: float) -> None:
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ModuleNotFoundError(
            f"path: {path.name} needs imageio-ffmpeg, which is not installed: pip install 'mutatis[worlds]', "
            "or write a .gif"
        )
    from imageio_ffmpeg import get_ffmpeg_exe

    height, width = np.shape(frames[0])[:2]
    given = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width + width % 2}x{height + height % 2}")
    wanted = ("-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
    with whole_file(path) as temporary:
        # Started here and not by imageio-ffmpeg, which forks; with the threads of JAX a fork may hang.
        program = (get_ffmpeg_exe(), "-y", "-v", "error", *given, "-r", f"{frames_per_second}", "-i", "-", *wanted)
        with subprocess.Popen([*program, str(temporary)], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as encoder:
            assert encoder.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it says why itself
                for frame in frames:
                    even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
                    encoder.stdin.write(np.ascontiguousarray(even, np.uint8).data)
            message = encoder.communicate()[1].decode(errors="replace").strip()
        if encoder.returncode:
            raise OSError(f"path: {path} could not be written; ffmpeg says: {message}")


def _save_gif(path: Path, frames: Sequence[np.ndarray], frames_per_second: float) -> None:
    """One palette for all frames, so that what stands still stays the same."""
    samples = np.unique(np.linspace(0, len(frames) - 1, _GIF_SAMPLES).astype(int)).tolist()
    together = Image.fromarray(np.concatenate([np.asarray(frames[k], np.uint8) for k in samples]))
    palette = together.quantize(_GIF_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    images = [
        Image.fromarray(np.asarray(frame, np.uint8)).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    duration = 10 * round(100 / frames_per_second)
    with whole_file(path) as temporary:
        images[0].save(temporary, save_all=True, append_images=images[1:], duration=duration, loop=0, optimize=False)


def _checked(path: str | Path, suffixes: Sequence[str]) -> Path:
    """A path whose suffix is one of these."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"path: {path.name} should end in {' or '.join(suffixes)}; that decides the format")
    return path
