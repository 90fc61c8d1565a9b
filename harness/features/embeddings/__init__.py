"""Embeddings of frozen networks."""
