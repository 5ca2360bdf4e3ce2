"""The codecs between values and bytes; there are no others. A document that does not parse raises StateUnreadable."""
