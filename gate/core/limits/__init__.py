"""Limits: rates and bursts, the token buckets that hold to them, and what a store is requested to take."""
