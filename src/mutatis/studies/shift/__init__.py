"""Studies of group shift, and their part of the page."""
