"""The original environments on the simulator that we use, with two known defects cured; for parity and timings.

The weld between the hand and its mocap body has 12 numbers since MuJoCo 3.17 where the package `metaworld` assigns 11.
Release 3.1 of the package changed one reward, that of button-press-topdown-wall; 3.0, which can be installed beside a
new simulator, gets that reward here. Nothing else is changed.
"""

import warnings

import mujoco
import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP
    from metaworld.sawyer_xyz_env import SawyerMocapBase


def _set_weld(self):
    for weld in np.flatnonzero(self.model.eq_type == mujoco.mjtEq.mjEQ_WELD):
        self.model.eq_data[weld] = 0
        self.model.eq_data[weld, [6, 10]] = -1, 5


SawyerMocapBase.reset_mocap_welds = _set_weld


class _TopdownWall(ALL_V3_ENVIRONMENTS["button-press-topdown-wall-v3"]):
    def compute_reward(self, action, obs):
        """As in release 3.1: the gripper's opening stands where 3.0 has one minus it."""
        changed = obs.copy()
        changed[3] = 1 - max(obs[3], 0.0)
        reward, reach, _, *rest = super().compute_reward(action, changed)
        return reward, reach, obs[3], *rest


CLASSES = {name.removesuffix("-v3"): each for name, each in ALL_V3_ENVIRONMENTS.items()}
CLASSES["button-press-topdown-wall"] = _TopdownWall


def original(name, vector, *, observe_goal=True, version="v2"):
    """One environment of the original, for one random vector; call `reset` first."""
    environment = CLASSES[name](reward_function_version=version)
    environment._set_task_called = True
    environment._last_rand_vec = np.asarray(vector)
    if observe_goal:
        environment._partially_observable = False
        del environment.sawyer_observation_space  # cached with the goal's bounds at 0
    return environment


def expert(name):
    """A fresh scripted policy: a function of the observation, clipped to the actions there are."""
    policy = ENV_POLICY_MAP[f"{name}-v3"]()
    return lambda observation: np.clip(policy.get_action(observation), -1, 1).astype(np.float32)
