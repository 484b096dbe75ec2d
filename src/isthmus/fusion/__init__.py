"""Where visual tokens meet the language model."""
