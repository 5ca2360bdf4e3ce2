"""The servers and processes that `upload-gate up` brings along: fetch, start, stop, never leave one behind.

Nothing here knows what runs inside a server; readiness is asked over a plain socket.
"""

from gate.errors import UploadGateError


class LocalServerError(UploadGateError):
    """A server that `up` brings along cannot be had or does not run. The message says what, why, and what to do."""
