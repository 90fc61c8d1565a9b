"""Trials in children of one warm server on this machine."""
