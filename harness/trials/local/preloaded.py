"""What the fork server imports once for all of its children, and what they share of its memory for good."""

from __future__ import annotations

import gc

import harness.trials.local.child
import harness.trials.model_probes
import harness.trials.training.train  # noqa: F401

# A child's garbage collector would write into every object of the server's, and so copy 100 MB of shared pages.
gc.collect()
gc.freeze()
