"""Training of one configuration, inside a child; the only part of `harness.trials` that imports keras at its top."""
