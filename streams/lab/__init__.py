"""Labelled streams: reading, replaying and evaluating them."""
