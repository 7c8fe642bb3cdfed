"""The steps of a training in one run folder, above learning, evidence and screening, and below the command line."""
