"""Measurements, one module each: `python -m benchmarks.NAME [--output FILE]`.

Every benchmark prints one JSON object as its last line and writes the same object to FILE.
"""
