"""What the ventricles of training controls measure: ``python -m benchmarks.ventricles MANIFEST``.

Writes the quantiles by age that the page compares with. The manifest names slices of ``oasis_2d``, 32 for each person,
with age; where ``subjects.csv`` lies next to it, the measurements are compared with its ``nwbv``, the brain volume
over the head volume that another group measured of the same people.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro
from PIL import Image
from scipy.stats import spearmanr

from sslmri.scans.atlas.ventricles import Ventricles, measure
from sslmri.screening.ventricles import AGES, ALL_AGES, FILE, age_group

_BACKGROUND = 10  # of 255: JPEG is not 0 outside the brain
_QUANTILES = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class Settings:
    """Measure the ventricles of training controls.

    Attributes:
        manifest: of the training slices.
    """

    manifest: Annotated[Path, tyro.conf.Positional]


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the table, prints the rank correlations, and, last, one line of JSON."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    people = _measure_people(settings.manifest)
    controls = people[people.label == "non_demented"]
    groups = {ALL_AGES: controls} | {age: controls[controls.age_group == age] for age in AGES}
    lines = [f"{json.dumps(age)}: {json.dumps(_quantiles(group))}" for age, group in groups.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    found = {"fraction and age of controls": _rank(controls.fraction, controls.age)}
    subjects = settings.manifest.with_name("subjects.csv")
    if subjects.exists():
        nwbv = pd.read_csv(subjects, index_col="group").nwbv.reindex(people.index)
        found |= {f"{name} and brain volume": _rank(people[name], nwbv) for name in ("fraction", "evans_index")}
    for name, value in found.items():
        print(f"{name}: rank correlation {value:.2f}")
    print(json.dumps({"controls": {age: len(group) for age, group in groups.items()}, "spearman": found}))


def _measure_people(manifest: Path) -> pd.DataFrame:
    table = pd.read_csv(manifest, low_memory=False)
    rows = {}
    for group, slices in table[table.cohort == "oasis_2d"].groupby("group"):
        paths, first = slices.sort_values("slice").path, slices.iloc[0]
        found = _measure_slab(np.stack([np.asarray(Image.open(manifest.parent / path)) for path in paths]))
        decade = None if np.isnan(first.age) else int(first.age)
        age = {"age": first.age, "age_group": None if decade is None else age_group(decade)}
        rows[group] = {"label": first.label, **age, "fraction": found.fraction, "evans_index": found.evans_index}
    return pd.DataFrame.from_dict(rows, orient="index")


def _measure_slab(slab: np.ndarray) -> Ventricles:
    """Returns the measurements of training slices (32, 128, 128), which lie turned by 180 degrees."""
    return measure(np.where(slab > _BACKGROUND, slab, 0)[:, ::-1, ::-1].astype(np.float32))


def _quantiles(group: pd.DataFrame) -> dict[str, object]:
    measures = group[["fraction", "evans_index"]].astype(float).quantile(_QUANTILES).round(4)
    return {"n": len(group), **{str(name): measures[name].tolist() for name in measures}}


def _rank(first: pd.Series, second: pd.Series) -> float:
    return float(spearmanr(first.astype(float), second.astype(float), nan_policy="omit").statistic)


if __name__ == "__main__":
    main()
