"""Weights to numbers: requests, answers, scores of a whole set with intervals, comparisons."""
