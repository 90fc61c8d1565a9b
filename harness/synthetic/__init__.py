"""Synthetic music: a data set for where there is no real music."""
