"""Everything that touches MLflow: live curves, delivery of what the ledger holds, reading back, the champion.

A study is a run, its trials and finals are runs nested in it, and all live in the experiment `DATASET/PROTOCOL`. Runs
are found by their tags, never by ids kept elsewhere, so a delivery can be cut off anywhere and done again.
One thread of one process writes, through `MlflowClient`; MLflow's global state is left alone.
"""
