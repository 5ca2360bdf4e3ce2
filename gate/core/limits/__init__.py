"""Limits: rates and bursts, the token buckets that enforce them, and the request that a store takes tokens for."""
