"""Small checks that keep the repository to its own rules."""
