"""Connections to Redis with a deadline on each call: to one server, to a master behind Sentinels, to the nodes of a Cluster.

They send commands and scripts and return replies or errors. They know nothing of what the stores keep.
"""
