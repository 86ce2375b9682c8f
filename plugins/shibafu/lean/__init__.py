"""What stands for costly parts of the standard library: json, ipaddress, subprocess, files and sysctls.

A call that starts cold lives for some milliseconds, and importing `json` alone takes ten. Each module
says what it replaces, and what that costs. The command, which people call, takes the standard library's.
"""
