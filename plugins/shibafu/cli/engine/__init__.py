"""`shibafu engine`: the resident engine of the installation that the command belongs to."""
