"""The pure part: values, token buckets, pauses, the policy and the function that decides. No I/O, clock, randomness."""
