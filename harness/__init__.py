"""A resource-aware AutoML benchmark harness for music genre classifiers."""
