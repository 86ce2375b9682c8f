"""The host's routers: its default routes follow those that answer.

`router_watch.py` is what the watcher calls. It reads `config.py`'s file, and has a group for each family
(`group.py`), which asks its routers (`watched_router.py`), judges them (`health.py`) and changes routes.
"""
