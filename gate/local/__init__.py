"""Fetches, starts and stops the servers and processes that `upload-gate up` runs, and leaves none behind.

It does not depend on what runs inside a server; it checks readiness over a plain socket.
"""
