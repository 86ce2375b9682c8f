"""The command `shibafu`: arguments and output only, one subcommand a file.

A subcommand names its arguments, calls what does the work, and prints. Nothing imports this package.
"""
