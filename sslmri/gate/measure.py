"""Measures what the gate lets pass, by classifier and cohort, on groups that it was not fitted on."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.evidence.intervals import rate_of
from sslmri.gate.decide import decide_brain_mri, decide_in_distribution
from sslmri.gate.fit import encode, joined, prepared_images
from sslmri.learning.model import Model
from sslmri.models.bank import EncoderFeatures, FeatureBank
from sslmri.models.evidence import GateRates, GateRow, GateTable
from sslmri.models.folder import ENCODER_FILE
from sslmri.models.history import created_now
from sslmri.models.metrics import Rate
from sslmri.models.model_card import gate_tables, tables_markdown

IN_DISTRIBUTION, SAME_DISEASE, SAME_SEQUENCES = "in distribution", "same disease", "same sequences"
UNRELATED, NOT_BRAIN = "unrelated", "not brain"
SYNTHETIC = "synthetic images"
RULE = (
    "Measured slice by slice on the test groups, on which neither the bank nor its thresholds were fitted, on cohorts "
    "that are in no split, and on synthetic images that are not brain MRI, drawn with another seed."
)
_N_SYNTHETIC, _SEED = 480, 1  # another seed than the bank's


def measure_gate(model: Model, bank: FeatureBank, store: Store, outside: Store, rule: str = RULE) -> GateTable:
    """Returns how many slices of each cohort the gate of a model lets pass."""
    train, test = (store.where(split=split) for split in ("train", "test"))
    synthetic = prepared_images(train.slices, model.card.encoder.preparation, _N_SYNTHETIC, _SEED)
    features = joined([encode(model, part) for part in (test, outside, synthetic)])
    names = [(record.cohort, record.group_key) for record in [*test.records, *outside.records]]
    names += [(SYNTHETIC, str(number)) for number in range(len(synthetic))]
    related = relations(bank, [*store.records, *outside.records], model.card.heads)
    rows, rates = table(bank, features, pd.DataFrame(names, columns=["cohort", "group"]), related)
    return GateTable(
        encoder_sha256=model.card.files[ENCODER_FILE],
        created=created_now(),
        rule=rule,
        n_cases=len(bank.cases),
        rows=rows,
        diseases=rates,
    )


def assessed_slices(model: Model, slices: Store) -> dict[str, np.ndarray]:
    """Returns which of N slices each classifier of a model would assess: bool (N,); all without a gate."""
    bank = FeatureBank.of(model.card)
    if bank is None:
        return {key: np.ones(len(slices.records), dtype=bool) for key in model.heads}
    seen = encode(model, slices)
    is_brain = decide_brain_mri(bank, seen.textures).passes
    return {key: decide_in_distribution(bank, seen.features, key).passes & is_brain for key in model.heads}


def relations(bank: FeatureBank, records: Sequence[Record], heads: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns for each classifier what each cohort is to it.

    The cohorts it was trained on are in distribution. Slices of its disease from elsewhere, or of the same sequences
    as one of its cohorts, may rightly pass; all others are unrelated.
    """
    sequences: dict[str, set[str]] = {}
    diseases: dict[str, set[str]] = {}
    for record in records:
        sequences.setdefault(record.cohort, set()).add(record.contrast)
        diseases.setdefault(record.cohort, set()).add(str(record.disease))
    related = {}
    for disease in heads:
        trained = {case.cohort for case in bank.cases if case.disease == disease}
        known = [named for cohort in trained if (named := sequences.get(cohort, {""})) != {""}]
        related[disease] = dict.fromkeys(sequences, UNRELATED)
        related[disease] |= {cohort: SAME_SEQUENCES for cohort in sequences if sequences[cohort] in known}
        related[disease] |= {cohort: SAME_DISEASE for cohort in sequences if disease in diseases[cohort]}
        related[disease] |= dict.fromkeys(trained, IN_DISTRIBUTION)
    return related


def table(
    bank: FeatureBank, features: EncoderFeatures, slices: pd.DataFrame, related: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[GateRow, ...], dict[str, GateRates]]:
    """Returns what the gate lets pass: a row for each classifier and cohort, and the rates of each classifier.

    The table has the cohort and the group of each slice; cohorts that ``relations`` did not name are synthetic images.
    """
    slices = slices.assign(is_brain=decide_brain_mri(bank, features.textures).passes)
    order = (IN_DISTRIBUTION, SAME_DISEASE, SAME_SEQUENCES, UNRELATED, NOT_BRAIN)
    rows: list[GateRow] = []
    rates = {}
    for disease, known in related.items():
        slices["passes"] = decide_in_distribution(bank, features.features, disease).passes & slices["is_brain"]
        slices["relation"] = pd.Categorical([known.get(cohort, NOT_BRAIN) for cohort in slices["cohort"]], order)
        rates[disease] = rejection_rates(slices)
        for (relation, cohort), own in slices.groupby(["relation", "cohort"], observed=True):
            fractions = float(own["is_brain"].mean()), float(own["passes"].mean())
            rows.append(GateRow(disease, str(cohort), str(relation), len(own), own["group"].nunique(), *fractions))
    return tuple(rows), rates


def rejection_rates(slices: pd.DataFrame) -> GateRates:
    """Returns which fraction of slices is rejected for one classifier, from the columns of ``table``.

    Cohorts of the same disease or the same sequences may rightly pass: ``unrelated`` leaves them out,
    ``other_cohorts`` has them.
    """

    def rejected(*kinds: str) -> Rate | None:
        chosen = slices[slices["relation"].isin(kinds)]
        groups, cohorts = (chosen[name].to_numpy(dtype=str) for name in ("group", "cohort"))
        return rate_of(~chosen["passes"].to_numpy(), groups, cohorts) if len(chosen) else None

    return GateRates(
        in_distribution=rejected(IN_DISTRIBUTION),
        unrelated=rejected(UNRELATED),
        other_cohorts=rejected(SAME_DISEASE, SAME_SEQUENCES, UNRELATED),
        synthetic=rejected(NOT_BRAIN),
    )


def report_gate(evidence: GateTable) -> str:
    """Returns what the gate lets pass and rejects, as the model card shows it."""
    return f"{evidence.rule}\n\n{tables_markdown(gate_tables(evidence))}"
