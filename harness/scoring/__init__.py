"""Predictions to scores: accuracy, macro F1, intervals, paired tests and ensembles."""
