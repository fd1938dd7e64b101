"""Films of policies: what is played, how long, and what is in the file."""

import io
from contextlib import closing

import numpy as np
import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")
pytest.importorskip("mujoco", reason="mujoco is not installed")

from PIL import Image

from mutatis.studies.control import _filming
from mutatis.studies.control._filming import SECOND, film_of
from mutatis.worlds import Experts, make
from mutatis.worlds._gallery import _REST, play
from mutatis.worlds._pictures import film_bytes
from mutatis.worlds._render import NoGraphicsError, Renderer


def still(observations):
    return np.zeros((len(observations), 4))


def frames_of(film):
    """Pictures (n, h, w, 3) and how long each is shown, in milliseconds."""
    with Image.open(io.BytesIO(film)) as opened:
        assert opened.format == "WEBP"
        pictures, durations = [], []
        for k in range(getattr(opened, "n_frames", 1)):
            opened.seek(k)
            pictures.append(np.array(opened.convert("RGB")))
            durations.append(opened.info["duration"])
    return np.stack(pictures), durations


@pytest.fixture
def graphics():
    with closing(make(["reach"])) as worlds:
        worlds.reset()
        renderer = Renderer()
        try:
            renderer(worlds.pose(), width=8, height=8)
        except NoGraphicsError as error:
            pytest.skip(str(error))
        finally:
            renderer.close()


@pytest.fixture
def expert():
    """The scripted expert of drawer-close at its third goal."""
    with closing(make(["drawer-close"], autoreset_mode="Disabled")) as worlds:
        worlds.reset(options={"goals": np.array([2])})
        yield Experts(worlds)


def counted(policy, seen):
    def act(observations):
        seen.append(observations.copy())
        return policy(observations)

    return act


def test_a_film_lasts_as_long_as_the_way_to_success(graphics, expert):
    seen = []
    film = film_of(counted(expert, seen), "drawer-close", goal=2, every=4, width=64, height=48)
    assert film is not None
    pictures, durations = frames_of(film)
    actions = len(seen)
    assert _REST < actions < 250 and seen[0].shape == (1, 39)
    assert pictures.shape[1:] == (48, 64, 3)
    each = round(1000 * 4 / SECOND)
    assert sum(durations) == (-(-actions // 4) + 1) * each + 1000  # the last pose stays for a second
    assert np.abs(pictures[0].astype(int) - pictures[-1]).max() > 40  # the drawer has moved
    with closing(make(["drawer-close"], autoreset_mode="Disabled")) as worlds:
        (episode,) = play(worlds, expert, [2], patience=250)
    assert episode.solved == actions - _REST and len(episode.poses) == actions + 1


def test_the_goal_is_the_asked_one_and_is_shown_to_the_policy(graphics):
    seen = []
    film_of(counted(still, seen), "reach", goal=3, seed=1, steps=2, width=16, height=16)
    with closing(make(["reach"], seed=1)) as worlds:
        np.testing.assert_array_equal(seen[0][0, -3:], worlds.vectors[0][3][-3:])


def test_an_episode_without_success_ends_after_its_steps(graphics):
    seen = []
    film = film_of(counted(still, seen), "reach", steps=10, every=5, width=16, height=16)
    assert len(seen) == 10 and film is not None
    assert sum(frames_of(film)[1]) == 3 * 62 + 1000
    assert film == film_of(still, "reach", steps=10, every=5, width=16, height=16)


def test_an_episode_ends_with_the_worlds(graphics):
    seen = []
    film_of(counted(still, seen), "reach", steps=600, every=300, width=16, height=16)
    assert len(seen) == 500


def test_without_graphics_there_is_no_film(monkeypatch):
    def blind(poses, width, height):
        raise NoGraphicsError("nothing to draw with")
        yield

    monkeypatch.setattr(_filming, "draw", blind)
    assert film_of(still, "reach", steps=2) is None


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"every": 0}, {"goal": 50}, {"task_name": "fly"}])
def test_what_cannot_be_played_is_refused(wrong):
    with pytest.raises(ValueError, match=r"steps|goal|fly"):
        film_of(still, **({"task_name": "reach", "steps": 2} | wrong))


def test_a_film_holds_its_frames_and_says_what_it_cannot_hold():
    frames = [np.full((24, 32, 3), 40 * k, np.uint8) for k in range(5)]
    pictures, durations = frames_of(film_bytes(frames, 10, pause=0.5))
    assert durations == [100, 100, 100, 100, 600]
    np.testing.assert_allclose(pictures.mean(axis=(1, 2, 3)), [0, 40, 80, 120, 160], atol=6)
    with Image.open(io.BytesIO(film_bytes(frames, 10))) as opened:
        assert opened.info["loop"] == 0
    for wrong, speed in (([], 10), ([frames[0], frames[0][:9]], 10), (frames, 0), (frames, 101)):
        with pytest.raises(ValueError, match=r"frames"):
            film_bytes(wrong, speed)
