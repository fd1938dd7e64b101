"""Points that shall go to goals, each goal a task: an environment whose best return is known."""

from mutatis import rl
from mutatis.rl import families


def points(goals, *, worlds_per_task=1, **options):
    return rl.FamilyEnvironment(families.PointGoals(**options), goals, worlds_per_task)
