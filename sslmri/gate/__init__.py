"""Is it brain MRI, and is it in distribution for a classifier."""
