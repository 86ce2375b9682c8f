"""`shibafu policy`: who may connect to whom."""
