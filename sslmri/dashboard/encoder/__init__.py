"""The Encoder page."""
