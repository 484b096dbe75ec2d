"""The embedded default: a synthetic visual world with exact truth, and towers pretrained on it."""
