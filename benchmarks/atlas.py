"""The Alzheimer's answer to whole heads against another group's measurements: ``python -m benchmarks.atlas FOLDER``.

The folder holds ``raw.csv``, one row for each subject with what was measured of it, and ``SUBJECT_T1.nii.gz``. Rank
correlations of the probability of any dementia, and of the measured ventricles, with each column, with 95 % intervals
by bootstrap over subjects.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro
from scipy.stats import rankdata

from sslmri.project import DEFAULT_MODEL
from sslmri.scans import read_scan
from sslmri.screening.outcome import Finding
from sslmri.screening.screener import Screener

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Settings:
    """Screen the T1 volumes of a folder and compare.

    Attributes:
        folder: with the volumes and ``raw.csv``.
        model: the model folder.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    model: Path = DEFAULT_MODEL


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each subject, the correlations, and, last, one line of JSON."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    table = pd.read_csv(settings.folder / "raw.csv", index_col="subject")
    screener = Screener.load(settings.model)
    answers: dict[str, dict[str, float]] = {}
    for subject in map(str, table.index):
        path, start = settings.folder / f"{subject}_T1.nii.gz", time.monotonic()
        finding = screener.screen(read_scan(path.read_bytes(), path.name)).summary.findings["alzheimers"]
        answer = f"{finding.verdict} {finding.probability_any:.3f}" if finding.is_assessed else finding.reason
        print(f"{subject}: {answer}, {time.monotonic() - start:.1f} s", flush=True)
        if finding.is_assessed:
            answers[subject] = {"probability": finding.probability_any, **_measures(finding)}
    known = table.loc[list(answers)].select_dtypes("number")
    found = pd.DataFrame.from_dict(answers, orient="index")
    correlations = {
        f"{ours} and {name}": _spearman(found[ours].to_numpy(), known[name].to_numpy())
        for ours in found
        for name in known
    }
    for name, (value, low, high) in correlations.items():
        print(f"{name}: rank correlation {value:.2f} ({low:.2f} to {high:.2f})")
    print(json.dumps({"assessed": len(answers), "subjects": len(table), "spearman": correlations}))


def _measures(finding: Finding) -> dict[str, float]:
    ventricles = finding.ventricles
    if ventricles is None or ventricles.evans_index is None:
        return {}
    return {"ventricles": ventricles.fraction, "Evans index": ventricles.evans_index}


def _spearman(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Returns a rank correlation of values (N,), and the ends of its 95 % interval."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(first), (_RESAMPLES, len(first)))
    drawn = [_correlation(first[row], second[row]) for row in rows]
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return _correlation(first, second), float(low), float(high)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    ranks = np.stack([rankdata(first), rankdata(second)])
    return float(np.corrcoef(ranks)[0, 1]) if (np.ptp(ranks, axis=1) > 0).all() else np.nan


if __name__ == "__main__":
    main()
