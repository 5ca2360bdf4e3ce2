"""Turns a batch of records into effects, as a value. No I/O."""
