"""GPU memory: predicted, measured, and shared out among trials."""
