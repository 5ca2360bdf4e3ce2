"""Models fitted from labelled streams: captions and links become integers, integers become log odds."""
