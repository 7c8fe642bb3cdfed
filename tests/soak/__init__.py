"""The long trials: every hazard tried many times against the real thing. ``make soak`` runs all and prints a table.

Each module makes rows of that table by functions whose counts are arguments; the tests run the same functions with
small counts.
"""
