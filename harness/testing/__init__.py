"""Fakes and contract tests, for the tests of this project and of packages that extend it."""
