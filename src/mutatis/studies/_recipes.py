"""Every study that can be run by name."""

from mutatis.studies._study import Study
from mutatis.studies.control._recipes import CONTROL_STUDIES
from mutatis.studies.shift._recipes import SHIFT_STUDIES
from mutatis.studies.symmetry._recipes import SYMMETRY_STUDIES
from mutatis.studies.trials._recipes import TRIAL_STUDIES

ALL_STUDIES = (*SHIFT_STUDIES, *SYMMETRY_STUDIES, *CONTROL_STUDIES, *TRIAL_STUDIES)

STUDIES: dict[str, type[Study]] = {study.name: study for study in ALL_STUDIES}
"""The studies by their names."""
