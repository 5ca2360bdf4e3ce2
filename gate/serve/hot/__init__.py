"""The hot route: checks over raw ASGI."""
