"""The stores in memory, shipped for tests, trials and replays."""
