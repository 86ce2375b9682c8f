"""shibafu-tuning: changes sysctls, and attributes of an interface that a plugin before it has made.

What is on the host is a file for each attachment that tells what the interface was like before: see `backup`.
"""
