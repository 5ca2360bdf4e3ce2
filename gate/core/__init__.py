"""The pure part: words, buckets, pauses, policy and the one function that decides. No I/O, no clock, no randomness."""
