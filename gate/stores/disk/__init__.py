"""Files on a gate's own disk: the snapshot that the gate writes, and the break-glass file that people write."""
