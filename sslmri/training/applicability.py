"""Measures whom each head answers: by cohort, on groups that neither the bank nor its thresholds have seen."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store, open_store
from sslmri.errors import ModelError
from sslmri.files import sha256_of, write_json
from sslmri.learning.bank import FeatureBank
from sslmri.learning.cards import ENCODER_FILE
from sslmri.learning.model import Model
from sslmri.learning.run import created_now
from sslmri.screening.applicability import judge, judge_brain
from sslmri.training.bank import build_bank, features_of, prepared_pictures
from sslmri.training.data import RunOptions, check_untaught, open_cohort, side

APPLICABILITY_FILE = "applicability.json"
PICTURES = "made-up pictures"
RULE = (
    "Measured slice by slice on the test groups, which neither the bank nor its thresholds have seen, on cohorts that "
    "are in no split, and on made-up pictures that are no brain MRI, drawn anew."
)
_N_PICTURES, _SEED = 480, 1  # another draw than the bank's


def run_bank(options: RunOptions) -> dict[str, Any]:
    """Builds the bank of the run's model, measures it and writes ``evidence/applicability.json``.

    Raises:
        SslmriError: the data or the model is at fault, or it learned from what it would be tested on.
    """
    model = Model.load(options.run)
    records, store = open_cohort(options)
    check_untaught(model.card, store, options.protocol)
    build_bank(options)
    bank = FeatureBank.load(options.run)  # what is measured is what is stored
    if bank is None:
        raise ModelError(f"Expected a feature bank in {options.run}, got none: run `python train.py bank` again.")
    test, outside = side(store, "test"), _outside(records, store, options)
    pictures = prepared_pictures(side(store, "train").slices, options.preparation, _N_PICTURES, _SEED)
    features = [features_of(model, part) for part in (test, outside)]
    features.append(features_of(model, Store(pictures, [], []), len(pictures)))
    cohorts = [record.cohort for record in [*test.records, *outside.records]] + [PICTURES] * len(pictures)
    groups = [r.group_key for r in [*test.records, *outside.records]] + [str(i) for i in range(len(pictures))]
    result = {
        "encoder_sha256": sha256_of(options.run / ENCODER_FILE),
        "created": created_now(),
        "rule": RULE,
        "n_cases": len(bank.cases),
        "rows": table(bank, np.concatenate(features), cohorts, groups, model.card.heads),
    }
    write_json(options.run / "evidence" / APPLICABILITY_FILE, result)
    return result


def _outside(records: Sequence[Record], store: Store, options: RunOptions) -> Store:
    """Returns the slices of the cohorts that are in no split."""
    inside = {record.cohort for record in store.records}
    others = [record for record in records if record.cohort not in inside]
    return open_store(others, options.preparation, options.cache) if others else store.select([])


def table(
    bank: FeatureBank, features: np.ndarray, cohorts: Sequence[str], groups: Sequence[str], heads: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns a row for each head and cohort: how many slices and groups, and which share of the slices it answers.

    Args:
        bank: of the model.
        features: (N, 2048).
        cohorts: of the N slices.
        groups: of the N slices.
        heads: by disease.
    """
    is_brain = judge_brain(bank, features).passes
    cohort_of, group_of = np.array(cohorts, dtype=str), np.array(groups, dtype=str)
    rows = []
    for disease in heads:
        own = {case.cohort for case in bank.cases if case.disease == disease}
        applies = judge(bank, features, disease).passes & is_brain
        for cohort in sorted(set(cohorts), key=lambda name: (name not in own, name == PICTURES, name)):
            chosen = cohort_of == cohort
            rows.append(
                {
                    "disease": disease,
                    "cohort": cohort,
                    "is_own": cohort in own,
                    "n_slices": int(chosen.sum()),
                    "n_groups": len(set(group_of[chosen])),
                    "share_brain": float(is_brain[chosen].mean()),
                    "share_applies": float(applies[chosen].mean()),
                }
            )
    return rows


def applicability_report(result: Mapping[str, Any]) -> str:
    """Returns the printed table, with the share of own slices refused and of others kept away by each head."""
    frame = pd.DataFrame(result["rows"])
    lines = [
        result["rule"],
        f"{'head':11} {'cohort':17} {'':6} {'slices':>6} {'groups':>6} {'brain':>6} {'applies':>8}",
    ]
    for disease, own in frame.groupby("disease", sort=False):
        for row in own.itertuples():
            kind = "own" if row.is_own else "other"
            lines.append(
                f"{disease:11} {row.cohort:17} {kind:6} {row.n_slices:6d} {row.n_groups:6d} "
                f"{row.share_brain:6.1%} {row.share_applies:8.1%}"
            )
        real = own[own["cohort"] != PICTURES]
        refused = 1 - _share(real[real["is_own"]])
        kept = 1 - _share(real[~real["is_own"]])
        lines.append(f"{disease:11} own slices refused {refused:.1%}, slices of other cohorts kept away {kept:.1%}")
    return "\n".join(lines)


def _share(rows: pd.DataFrame) -> float:
    """Returns the share of all slices of the rows that are answered, NaN where there are none."""
    return float(np.average(rows["share_applies"], weights=rows["n_slices"])) if len(rows) else float("nan")
