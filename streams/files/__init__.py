"""Files that become values: scorecards, schemas."""
