"""rtnetlink for short-lived processes: a small codec, sockets, and the requests a CNI plugin makes.

Requests are data (`socket.Request`): functions such as `link.link_add_veth` build them and touch nothing, and
a `socket.NetlinkSocket` sends any number of them at once. Modules import only what is cheap to import, and a
caller imports only the modules it needs. IP addresses are packed bytes (4 or 16), MAC addresses bytes (6).
"""
