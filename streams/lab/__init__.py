"""Labelled streams: read, replay, evaluate."""
