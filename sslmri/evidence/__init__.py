"""How far a result can be trusted: calibration, baselines, metrics with intervals, and predictions. Never torch."""
