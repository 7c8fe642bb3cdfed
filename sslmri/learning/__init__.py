"""Encoder, SimCLR, fine-tuning, and the files of a model."""
