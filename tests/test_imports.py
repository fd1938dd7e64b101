"""The layers of the library, read from its syntax tree: a module imports only from below."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mutatis

ROOT = Path(mutatis.__file__).parent
LEVEL = {"core": 1, "nn": 2, "rules": 3, "weightings": 3, "mutatis": 3.5, "shift": 4, "estimators": 5, "studies": 5}
LEVEL |= {"symmetry": 4, "worlds": 4, "rl": 4.5, "__main__": 6, "web": 6}
"""`mutatis` is the package's own namespace: the core and the catalogue together, nothing above."""

MAY_IMPORT = {
    "sklearn": ("estimators/", "shift/data/_rotated_digits.py", "symmetry/_glyphs.py"),
    "scipy": ("shift/", "symmetry/_candidates.py"),
    "PIL": (
        "shift/",
        "studies/shift/_pictures.py",
        "studies/symmetry/_weight_pictures.py",
        "symmetry/_omniglot.py",
        "worlds/_pictures.py",
    ),
    "matplotlib": (),
    "tyro": ("__main__.py",),
    "dask": ("studies/_parallel.py",),
    "distributed": ("studies/_parallel.py",),
    "mujoco": ("worlds/",),
    "mujoco_warp": ("worlds/_warp.py",),
    "warp": ("worlds/_warp.py",),
    "metaworld": ("worlds/_experts.py",),
    "imageio_ffmpeg": ("worlds/_pictures.py",),
    "gymnasium": ("worlds/",),
    "torch": (),
    "pandas": (),
}
"""Heavy libraries, and the only places that may use them."""

ROOM_LEVEL = {"any study": 1, "page": 2, "shift": 3, "symmetry": 3, "control": 3, "trials": 4, "all studies": 5}
"""Inside of `studies`: files that serve any study below, files that know all studies above, folders between them."""
ABOVE_ALL_ROOMS = ("", "_recipes", "_report", "_markdown")

FILES = sorted(ROOT.rglob("*.py"))


def _imports(file):
    """Every module imported anywhere in a file, with the line; `from a import b` gives a.b where that is a module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                here = ["mutatis", *file.relative_to(ROOT).parts]
                source = ".".join([*here[: -node.level], *filter(None, [node.module])])
            for alias in node.names:
                inner = ROOT.parent / Path(*source.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield (f"{source}.{alias.name}" if is_module else source), node.lineno


def _layer(module):
    """Of `mutatis.x.y` the part it belongs to."""
    parts = module.split(".")
    if len(parts) == 1:
        return "mutatis"
    if parts[1].startswith("_") and parts[1] != "__main__":
        return "core"
    return parts[1]


def _module_of(file):
    parts = ["mutatis", *file.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_imports_only_from_below(file):
    layer = _layer(_module_of(file))
    assert layer in LEVEL, f"{file}: say which level the new part {layer!r} has"
    wrong = [
        f"line {line}: {name}"
        for name, line in _imports(file)
        if name.split(".")[0] == "mutatis" and _layer(name) != layer and not LEVEL[_layer(name)] < LEVEL[layer]
    ]
    assert not wrong, wrong


def _room(module):
    """Where in `studies` a module is: a folder, or one of the two groups of files beside the folders."""
    first = [*module.split("."), ""][2]
    if first in ROOM_LEVEL:
        return first
    return "all studies" if first in ABOVE_ALL_ROOMS else "any study"


@pytest.mark.parametrize("file", sorted((ROOT / "studies").rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_of_studies_imports_only_from_its_own_room_or_from_below(file):
    room = _room(_module_of(file))
    wrong = [
        f"line {line}: {name}"
        for name, line in _imports(file)
        if name.startswith("mutatis.studies") and _room(name) != room and not ROOM_LEVEL[_room(name)] < ROOM_LEVEL[room]
    ]
    assert not wrong, wrong


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_a_heavy_library_is_used_only_where_it_belongs(library):
    users = {
        str(file.relative_to(ROOT)) for file in FILES for name, _ in _imports(file) if name.split(".")[0] == library
    }
    assert not {user for user in users if not user.startswith(MAY_IMPORT[library])}


def test_scikit_learn_is_imported_late_outside_the_estimators():
    tree = ast.parse((ROOT / "shift/data/_rotated_digits.py").read_text())
    early = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [name for node in early for name in ([node.module] if isinstance(node, ast.ImportFrom) else [])]
    assert not [name for name in names if name and name.startswith("sklearn")]


def test_importing_mutatis_loads_nothing_heavy():
    heavy = [*MAY_IMPORT, "IPython", "jinja2"]
    program = "import json, sys, mutatis; print(json.dumps([m.split('.')[0] for m in sys.modules]))"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    loaded = set(json.loads(output))
    assert {"jax", "equinox", "optax", "numpy"} <= loaded
    assert not loaded & set(heavy)


def test_importing_mutatis_loads_no_domain_and_no_facade():
    program = "import json, sys, mutatis; print(json.dumps([m for m in sys.modules if m.startswith('mutatis.')]))"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    layers = {_layer(name) for name in json.loads(output)}
    assert layers <= {"core", "nn", "rules", "weightings"}


def test_importing_studies_starts_no_backend():
    # A worker sets its number of threads after the imports; a backend that runs already would not hear of it.
    program = "import mutatis.studies"
    environment = {**os.environ, "JAX_PLATFORMS": "no_such_platform"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_no_module_draws_from_global_randomness():
    # A seeded Generator is a value; `np.random.normal` and friends, and the module `random`, are global state.
    allowed = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "RandomState"}
    found = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Attribute)
                and node.value.attr == "random"
                and isinstance(node.value.value, ast.Name)
                and node.value.value.id in ("np", "numpy")
                and node.attr not in allowed
            ):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {node.attr}")
        found += [f"{file.relative_to(ROOT)}:{line}" for name, line in _imports(file) if name == "random"]
    assert not found
