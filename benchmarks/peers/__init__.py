"""What a user might pick instead: each contender is one module, used as its documentation says.

`requirements.txt` is their environment; `harness` is read from the source tree. From the root of the repository:

    build/peers/bin/python -m benchmarks.peers.optuna_loop --trials 30

A contender writes what it does to standard error, and its figures as one line of JSON to standard output.
"""
