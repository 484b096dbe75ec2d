"""Facts to conversations: templates as data, what they say of a fact, and facts that are merged."""
