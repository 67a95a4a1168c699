"""Metrics: overlap with a reference, and what is right besides."""
