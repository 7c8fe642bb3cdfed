"""The report of one screening or a list of them: PDF, CSV and JSON."""
