"""The stores in memory, shipped for tests, tries and replays."""
