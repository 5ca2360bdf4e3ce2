"""What a batch of records becomes: effects, as a value. No I/O."""
