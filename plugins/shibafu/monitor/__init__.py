"""shibafu-monitor: one small process for each container in the background, from its start to its end."""
