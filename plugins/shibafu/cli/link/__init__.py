"""`shibafu link`: the pieces that networks are made of, one at a time, for learning and debugging."""
