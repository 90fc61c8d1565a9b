"""The search: what to try next, and what to make of what came of it."""
