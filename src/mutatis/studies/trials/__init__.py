"""Studies of meta-reinforcement learning: trials of a few episodes, and their part of the page."""
