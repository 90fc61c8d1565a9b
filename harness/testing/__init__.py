"""Fakes, and the tests that every implementation of a contract must pass; for tests, benchmarks and plug-ins."""
