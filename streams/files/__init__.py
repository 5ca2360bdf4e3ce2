"""Reads files into values: scorecards, schemas, models."""
