"""What a process keeps on its own disk, and what people put there for it."""
