"""The comparison of families as markdown, one HTML page, pictures and data files, written from `harness.analysis`."""
