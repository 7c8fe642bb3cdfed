"""The Cohort page."""
