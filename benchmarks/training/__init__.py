"""How trials train, measured on a CPU."""
