"""Records to the figures of a report, computed once; the words around them are for `reports`."""
