"""From pixels to patches: towers, and what they expect of an image."""
