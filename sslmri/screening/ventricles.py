"""What the ventricles of an aligned brain measure, in a sentence, next to those of training controls. No torch here.

``ventricles.json`` holds quantiles at equal steps from 0 to 100 % of the 80 people without dementia (CDR 0) of the
OASIS-1 slices, measured as every aligned scan is; ``python -m benchmarks.ventricles`` makes it.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sslmri.scans.atlas.ventricles import Ventricles
from sslmri.text import percent

FILE = Path(__file__).with_suffix(".json")
AGES = ("under 60", "60 to 69", "70 to 79", "80 or over")  # decades with under ten controls are joined
ALL_AGES = "of all ages"


def age_group(decade: int | None) -> str:
    """Returns the age group of a decade of life or of an age in it; that of all ages where it is unknown."""
    return ALL_AGES if decade is None else AGES[min(max(decade // 10 - 5, 0), len(AGES) - 1)]


def ventricles_line(ventricles: Ventricles, age: str | None = None) -> str:
    """Returns the measurements, each with the fraction of the training controls of an age group, if any, below it."""
    texts = {"fraction": f"Ventricles: {100 * ventricles.fraction:.1f} % of the brain in the aligned slices"}
    if ventricles.horns and ventricles.evans_index is not None:
        texts["evans_index"] = f"Evans index {ventricles.evans_index:.2f} (slice {ventricles.horns.slice_ + 1})"
    if age is not None:
        controls = _read()[age]
        whom = f"{controls['n']} controls {age if age == ALL_AGES else f'aged {age}'}"
        texts["fraction"] += f", above {_percent_below(ventricles.fraction, controls['fraction'])} of {whom}"
        if ventricles.evans_index is not None:
            texts["evans_index"] += f", above {_percent_below(ventricles.evans_index, controls['evans_index'])}"
    return f"{'. '.join(texts.values())}."


def _percent_below(value: float, quantiles: list[float]) -> str:
    return percent(float(np.interp(value, quantiles, np.linspace(0, 1, len(quantiles)))))


@cache
def _read() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))
