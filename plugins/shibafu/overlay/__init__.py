"""The overlay: one network of containers on several hosts, over VXLAN, in flannel's data model.

An agent on each host (`shibafu overlay run`) agrees with the others, through etcd, on the subnet of each
host, and keeps what the kernel needs to reach the others' subnets. CNI calls never talk to etcd: what
containers get comes from a file that the agent writes, `/run/shibafu/overlay/<network>.env` unless the key
`subnetFile` of `/etc/shibafu/overlay.yaml` names another one, such as flannel's `/run/flannel/subnet.env`.

The agent's own state is in `/run/shibafu/overlay/<network>.json`.
"""
