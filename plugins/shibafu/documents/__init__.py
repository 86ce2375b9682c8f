"""Files that people write, read in a way that names the line of each mistake.

Only what people call imports it: YAML would cost a plugin more than all of its work.
"""
