"""The model folder: typed cards, integrity, one write, one read. No torch."""
