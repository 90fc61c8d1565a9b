"""The families that ship with the harness: one module each, found through their entry points."""
