"""The transformers citizens: configuration, model, processor, and how others load them."""
