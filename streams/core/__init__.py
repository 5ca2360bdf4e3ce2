"""The pure part of the streams: bytes to events, events to account state, state and crowd to a score. No I/O, no clock."""
