"""What a number is worth: calibration, floors, metrics with intervals, and the files they are kept in. Never torch."""
