"""Experiments: what to compare on which data, run in parallel, stopped and resumed, and reported."""

from ._loop import NonFiniteLossError as NonFiniteLossError
from ._loop import Progress as Progress
from ._loop import StoppedError as StoppedError
from ._loop import train as train
from ._parallel import Executor as Executor
from ._parallel import ProcessExecutor as ProcessExecutor
from ._parallel import SerialExecutor as SerialExecutor
from ._parallel import WorkerDiedError as WorkerDiedError
from ._run import StudyFailedError as StudyFailedError
from ._run import run_study as run_study
from ._store import Checkpoint as Checkpoint
from ._store import DamagedCheckpointError as DamagedCheckpointError
from ._store import load_checkpoint as load_checkpoint
from ._store import save_checkpoint as save_checkpoint
from ._study import Job as Job
from ._study import Outcome as Outcome
from ._study import Schedule as Schedule
from ._study import Study as Study
from ._study import Trainer as Trainer
