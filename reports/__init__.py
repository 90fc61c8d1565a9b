"""From the records of a benchmark to text and pictures: pure, offline, equal bytes for equal records."""
