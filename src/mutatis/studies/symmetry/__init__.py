"""Studies of learned symmetries, and their part of the page."""
