"""Files to batches: sources, conversations, order and collation."""
