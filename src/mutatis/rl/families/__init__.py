"""Families of tasks whose best return is known exactly, and players to compare a learner with.

| family | a task is | the reference |
|---|---|---|
| `BernoulliBandits` | the arms' chances | `bandit_value`; `FiniteGittins`, `Thompson`, ... |
| `TabularProcesses` | transitions and rewards | `process_value`, `plan`, `PosteriorSampling` |
| `PointGoals`, `SparsePointGoals` | a goal in the plane | `best_return` |
| `BusGrids` | where buses lead | `best_returns`, `unexplored_returns`, `PerfectExplorer` |

And two on MuJoCo, where the best return is only known to lie between bounds:

| family | a task is | the bounds |
|---|---|---|
| `CheetahVelocity` | how fast to run | `uninformed_return` and 0 |
| `CheetahDirection` | where to run | 0, and none |
"""

from mutatis.rl.families._bandit import BernoulliBandits as BernoulliBandits
from mutatis.rl.families._bandit import bandit_value as bandit_value
from mutatis.rl.families._bandit_players import FiniteGittins as FiniteGittins
from mutatis.rl.families._bandit_players import PosteriorMean as PosteriorMean
from mutatis.rl.families._bandit_players import Thompson as Thompson
from mutatis.rl.families._bandit_players import UpperConfidence as UpperConfidence
from mutatis.rl.families._bandit_players import gittins_indices as gittins_indices
from mutatis.rl.families._cheetah import CheetahDirection as CheetahDirection
from mutatis.rl.families._cheetah import CheetahVelocity as CheetahVelocity
from mutatis.rl.families._cheetah import oyster_velocities as oyster_velocities
from mutatis.rl.families._grid_player import PerfectExplorer as PerfectExplorer
from mutatis.rl.families._grid_search import best_returns as best_returns
from mutatis.rl.families._grid_search import unexplored_returns as unexplored_returns
from mutatis.rl.families._grids import BusGrids as BusGrids
from mutatis.rl.families._point import PointGoals as PointGoals
from mutatis.rl.families._point import SparsePointGoals as SparsePointGoals
from mutatis.rl.families._point import oyster_goals as oyster_goals
from mutatis.rl.families._tabular import Process as Process
from mutatis.rl.families._tabular import TabularProcesses as TabularProcesses
from mutatis.rl.families._tabular import plan as plan
from mutatis.rl.families._tabular import process_value as process_value
from mutatis.rl.families._tabular_players import PosteriorSampling as PosteriorSampling
