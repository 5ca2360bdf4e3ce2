"""What it costs and how long it takes, measured on this machine: `python -m tests.bench`. Never part of a test run."""
