"""Objectives: model and batch to named losses; the folder is the registry."""
