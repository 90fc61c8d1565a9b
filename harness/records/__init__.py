"""What a benchmark leaves behind: the frozen records that cross every border.

The child process fills them, the ledger stores them as JSON, MLflow carries them, `reports` reads them.
"""
