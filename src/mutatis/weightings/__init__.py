"""Weightings: how the tasks of an outer step share it, one file per family."""

from mutatis.weightings._average import Average as Average
