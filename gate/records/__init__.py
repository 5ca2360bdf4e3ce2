"""Bytes and words: the only codecs. Reading is strict, and what does not parse raises StateUnreadable, whole."""
