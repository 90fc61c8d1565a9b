"""Durable results on disk, and their delivery to whoever shows them."""
