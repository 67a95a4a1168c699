"""What a model gives away, and what it can be made to do."""
