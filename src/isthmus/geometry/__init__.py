"""Frames, sizes and boxes: plain arithmetic that knows no tensor."""
