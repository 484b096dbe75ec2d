"""Weights to the world and back: what others published is read here."""
