"""Studies of reinforcement learning on many tasks, and their part of the page."""
