"""The servers and processes that `upload-gate up` brings along: fetch, start, stop, never leave one behind.

Nothing here knows what runs inside a server; readiness is asked over a plain socket.
"""
