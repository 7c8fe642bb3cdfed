"""What a number is worth: calibration, baselines, metrics with intervals, and predictions. Never torch."""
