"""`shibafu watch`: the process that heals networks as soon as something of them is lost."""
