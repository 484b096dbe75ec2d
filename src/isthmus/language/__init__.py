"""From embedded tokens to logits: any causal language model of transformers, its head exact."""
