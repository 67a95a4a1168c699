"""The HTTP APIs in front of one gateway: our own, and those that clients already speak."""
