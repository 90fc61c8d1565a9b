"""One trial, isolated: a child process trains it, the parent watches, ends and judges it."""
