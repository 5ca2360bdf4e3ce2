"""Other rate limiters beside ours; `group` has the figures."""
