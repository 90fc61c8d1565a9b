"""How fast the harness is, beside what a user might take instead: `make bench`, figures in docs/performance.md.

A row of that page measures one thing. Its contenders are commands, each in a process of its own, which take turns for
several rounds. `python -m benchmarks.performance --help` says how rows are chosen; figures are kept by row, so that a
measurement that was interrupted goes on.
"""
