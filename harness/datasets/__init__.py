"""Data sets: a folder becomes tracks, and every track gets its partition."""
