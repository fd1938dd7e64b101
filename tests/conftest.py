"""Settings that hold for the whole test run."""

import ctypes
import os
import sys
from pathlib import Path

# Of a test's time most goes into compiling, for a few runs of each program: what makes programs faster is left out, and
# the older way of emitting fused loops takes a third of the time. A program stays in one piece: in several, at this
# level, it can compute wrong numbers (a second-order gradient through Conv4 did). Read once, when jax starts.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
    + os.environ.get("XLA_FLAGS", "")
)

import hypothesis
import jax
import pytest

from mutatis.studies._parallel import forget_programs

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

REAL_DATA = Path(os.environ.get("MUTATIS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """The suite compiles more programs than one process can hold, and builds more simulations than memory should."""
    yield
    forget_programs()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # large models leave holes that the allocator would keep


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of official data files, or a skip with the reason."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}; set MUTATIS_TEST_DATA to a folder with mnist/, qmnist/, cifar10/")
    return REAL_DATA
