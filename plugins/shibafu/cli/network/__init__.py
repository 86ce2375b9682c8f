"""`shibafu network`: networks as files in /etc/cni/net.d, and what the kernel holds of them."""
