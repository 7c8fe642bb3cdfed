"""Measures whom each head answers: by cohort, on groups that neither the bank nor its thresholds have seen."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.evidence.gate import (
    IN_DISTRIBUTION,
    NOT_BRAIN,
    SAME_DISEASE,
    SAME_SEQUENCES,
    UNRELATED,
    percentage,
    rejection_rates,
)
from sslmri.gate.decide import decide_brain_mri, decide_in_distribution
from sslmri.gate.fit import encode, joined, prepared_images
from sslmri.learning.model import Model
from sslmri.models.bank import EncoderFeatures, FeatureBank
from sslmri.models.evidence import GateTable
from sslmri.models.folder import ENCODER_FILE
from sslmri.models.history import created_now
from sslmri.models.metrics import GateRates, GateRow

PICTURES = "made-up pictures"
RULE = (
    "Measured slice by slice on the test groups, which neither the bank nor its thresholds have seen, on cohorts that "
    "are in no split, and on made-up pictures that are no brain MRI, drawn anew."
)
_N_PICTURES, _SEED = 480, 1  # another draw than the bank's


def measure_gate(model: Model, bank: FeatureBank, store: Store, outside: Store) -> GateTable:
    """Returns how many slices of each cohort the gate of a model lets pass.

    Args:
        model: whose gate it is.
        bank: of the model.
        store: the model's data; its test slices are measured.
        outside: slices of the cohorts that are in no split, measured as well.
    """
    train, test = (store.where(split=split) for split in ("train", "test"))
    pictures = prepared_images(train.slices, model.card.encoder.preparation, _N_PICTURES, _SEED)
    seen = joined([encode(model, part) for part in (test.slices, outside.slices, pictures)])
    judged = [*test.records, *outside.records]
    cohorts = [record.cohort for record in judged] + [PICTURES] * len(pictures)
    groups = [record.group_key for record in judged] + [str(i) for i in range(len(pictures))]
    kin = relations(bank, [*store.records, *outside.records], model.card.heads)
    rows, rates = table(bank, seen, cohorts, groups, kin)
    return GateTable(
        encoder_sha256=model.card.files[ENCODER_FILE],
        created=created_now(),
        rule=RULE,
        n_cases=len(bank.cases),
        rows=rows,
        diseases=rates,
    )


def relations(bank: FeatureBank, records: Sequence[Record], heads: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns for each classifier what each cohort is to it.

    The cohorts it was trained on are in distribution. Slices of its disease from elsewhere, or of the same sequences
    as one of its cohorts, may rightly pass; all others are unrelated.
    """
    contrasts: dict[str, set[str]] = {}
    diseases: dict[str, set[str]] = {}
    for record in records:
        contrasts.setdefault(record.cohort, set()).add(record.contrast)
        diseases.setdefault(record.cohort, set()).add(str(record.disease))
    found = {}
    for disease in heads:
        own = {case.cohort for case in bank.cases if case.disease == disease}
        known = [named for cohort in own if (named := contrasts.get(cohort, {""})) != {""}]
        found[disease] = dict.fromkeys(contrasts, UNRELATED)
        found[disease] |= {cohort: SAME_SEQUENCES for cohort in contrasts if contrasts[cohort] in known}
        found[disease] |= {cohort: SAME_DISEASE for cohort in contrasts if disease in diseases[cohort]}
        found[disease] |= dict.fromkeys(own, IN_DISTRIBUTION)
    return found


def table(
    bank: FeatureBank,
    seen: EncoderFeatures,
    cohorts: Sequence[str],
    groups: Sequence[str],
    kin: Mapping[str, Mapping[str, str]],
) -> tuple[tuple[GateRow, ...], dict[str, GateRates]]:
    """Returns what the gate lets pass: a row for each classifier and cohort, and the rates of each classifier.

    Args:
        bank: of the model.
        seen: what its encoder sees in N slices.
        cohorts: of the N slices.
        groups: of the N slices.
        kin: of each head to each cohort, from ``relations``; what is in none are pictures.
    """
    is_brain = decide_brain_mri(bank, seen.textures).passes
    cohort_of, group_of = np.array(cohorts, dtype=str), np.array(groups, dtype=str)
    order = (IN_DISTRIBUTION, SAME_DISEASE, SAME_SEQUENCES, UNRELATED, NOT_BRAIN)
    rows: list[GateRow] = []
    rates = {}
    for disease, own in kin.items():
        applies = decide_in_distribution(bank, seen.features, disease).passes & is_brain
        relation = {cohort: own.get(cohort, NOT_BRAIN) for cohort in set(cohorts)}
        rates[disease] = rejection_rates(applies, np.array([relation[name] for name in cohorts]), cohort_of, group_of)
        for _, cohort in sorted((order.index(kinship), cohort) for cohort, kinship in relation.items()):
            chosen = cohort_of == cohort
            rows.append(
                GateRow(
                    disease=disease,
                    cohort=cohort,
                    relation=relation[cohort],
                    n_slices=int(chosen.sum()),
                    n_groups=len(set(group_of[chosen])),
                    fraction_brain=float(is_brain[chosen].mean()),
                    fraction_in_distribution=float(applies[chosen].mean()),
                )
            )
    return tuple(rows), rates


def report_gate(evidence: GateTable) -> str:
    """Returns the printed table, with the rates of each classifier below its rows."""
    lines = [
        evidence.rule,
        f"{'classifier':11} {'cohort':17} {'relation':15} {'slices':>6} {'groups':>6} {'brain':>6} {'passes':>8}",
    ]
    for disease, rates in evidence.diseases.items():
        lines += [
            f"{disease:11} {row.cohort:17} {row.relation:15} {row.n_slices:6d} {row.n_groups:6d} "
            f"{row.fraction_brain:6.1%} {row.fraction_in_distribution:8.1%}"
            for row in evidence.rows
            if row.disease == disease
        ]
        lines.append(
            f"{disease:11} rejected: in distribution {percentage(rates.in_distribution)}; unrelated cohorts "
            f"{percentage(rates.unrelated)}, all other cohorts {percentage(rates.other_cohorts)}, synthetic images "
            f"{percentage(rates.synthetic)}"
        )
    return "\n".join(lines)
