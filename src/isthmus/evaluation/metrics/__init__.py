"""What an answer is worth: one file per measure, plain functions on one answer at a time."""
