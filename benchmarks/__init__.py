"""Benchmarks: ratios measured side by side in one run; see :mod:`benchmarks.common`."""
