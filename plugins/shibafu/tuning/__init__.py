"""shibafu-tuning: changes sysctls, and attributes of an interface that a plugin before it has made.

On the host it only has a file for each attachment with the interface's former attributes: see `backup`.
"""
