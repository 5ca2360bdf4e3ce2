"""Simulated and recorded uploads for a running system."""
