"""`shibafu image`: root file systems by name."""
