"""Benchmarks: each prints its figures as ratios within one run, beside what they are measured against."""
