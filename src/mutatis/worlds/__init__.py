"""Meta-World's fifty manipulation tasks (Yu et al. 2019), faithful, batched and fast."""

from mutatis._timestep import Timestep as Timestep
from mutatis.worlds import _requirements as _requirements
from mutatis.worlds._benchmarks import BENCHMARKS as BENCHMARKS
from mutatis.worlds._benchmarks import Benchmark as Benchmark
from mutatis.worlds._demonstrations import Demonstration as Demonstration
from mutatis.worlds._demonstrations import Demonstrations as Demonstrations
from mutatis.worlds._demonstrations import collect_demonstrations as collect_demonstrations
from mutatis.worlds._demonstrations import load_demonstrations as load_demonstrations
from mutatis.worlds._evaluate import Estimate as Estimate
from mutatis.worlds._evaluate import Evaluation as Evaluation
from mutatis.worlds._evaluate import evaluate as evaluate
from mutatis.worlds._evaluate import evaluation_worlds as evaluation_worlds
from mutatis.worlds._experts import Experts as Experts
from mutatis.worlds._functional import FunctionalWorlds as FunctionalWorlds
from mutatis.worlds._goals import goal_vectors as goal_vectors
from mutatis.worlds._make import make as make
from mutatis.worlds._models import version as version
from mutatis.worlds._official import OfficialEvaluation as OfficialEvaluation
from mutatis.worlds._official import evaluate_officially as evaluate_officially
from mutatis.worlds._registration import register as _register
from mutatis.worlds._vector import HORIZON as HORIZON
from mutatis.worlds._vector import Worlds as Worlds
from mutatis.worlds.tasks import TASKS as TASKS

_register()
