"""Says what to install where something is missing; imported before anything that would fail without it."""

import importlib.util

_MISSING = [name for name in ("mujoco", "gymnasium", "metaworld") if importlib.util.find_spec(name) is None]
if _MISSING:
    raise ModuleNotFoundError(f"mutatis.worlds needs {', '.join(_MISSING)}: pip install 'mutatis[worlds]'")
