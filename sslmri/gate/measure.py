"""Measures whom each head answers: by cohort, on groups that neither the bank nor its thresholds have seen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.evidence.gate import (
    NOT_BRAIN,
    OTHER,
    OWN,
    SAME_CONTRASTS,
    SAME_DISEASE,
    exact_share,
    shares,
)
from sslmri.gate.decide import decide_brain_mri, decide_in_distribution
from sslmri.gate.fit import encode, joined, prepared_images
from sslmri.learning.model import Model
from sslmri.models.bank import EncoderFeatures, FeatureBank

PICTURES = "made-up pictures"
RULE = (
    "Measured slice by slice on the test groups, which neither the bank nor its thresholds have seen, on cohorts that "
    "are in no split, and on made-up pictures that are no brain MRI, drawn anew."
)
_N_PICTURES, _SEED = 480, 1  # another draw than the bank's


def measure_gate(model: Model, bank: FeatureBank, store: Store, outside: Store) -> dict[str, Any]:
    """Returns how many slices of each cohort the gate of a model passes, for JSON.

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
    return {"rule": RULE, "n_cases": len(bank.cases), **table(bank, seen, cohorts, groups, kin)}


def relations(bank: FeatureBank, records: Sequence[Record], heads: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns for each head what each cohort is to it: ``OWN``, ``SAME_DISEASE``, ``SAME_CONTRASTS`` or ``OTHER``.

    The head learned from its own cohorts. Slices of its disease from elsewhere, or of the same contrasts as one of its
    own cohorts, may rightly be taken for its kind.
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
        found[disease] = dict.fromkeys(contrasts, OTHER)
        found[disease] |= {cohort: SAME_CONTRASTS for cohort in contrasts if contrasts[cohort] in known}
        found[disease] |= {cohort: SAME_DISEASE for cohort in contrasts if disease in diseases[cohort]}
        found[disease] |= dict.fromkeys(own, OWN)
    return found


def table(
    bank: FeatureBank,
    seen: EncoderFeatures,
    cohorts: Sequence[str],
    groups: Sequence[str],
    kin: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Returns whom each head answers, for JSON.

    ``rows`` has one for each head and cohort: how many slices and groups, and which share of the slices it answers.
    ``heads`` has for each what ``shares`` makes of them.

    Args:
        bank: of the model.
        seen: what its encoder sees in N slices.
        cohorts: of the N slices.
        groups: of the N slices.
        kin: of each head to each cohort, from ``relations``; what is in none are pictures.
    """
    is_brain = decide_brain_mri(bank, seen.textures).passes
    cohort_of, group_of = np.array(cohorts, dtype=str), np.array(groups, dtype=str)
    order = (OWN, SAME_DISEASE, SAME_CONTRASTS, OTHER, NOT_BRAIN)
    rows, heads = [], {}
    for disease, own in kin.items():
        applies = decide_in_distribution(bank, seen.features, disease).passes & is_brain
        relation = {cohort: own.get(cohort, NOT_BRAIN) for cohort in set(cohorts)}
        heads[disease] = shares(applies, np.array([relation[name] for name in cohorts]), cohort_of, group_of)
        for _, cohort in sorted((order.index(kinship), cohort) for cohort, kinship in relation.items()):
            chosen = cohort_of == cohort
            rows.append(
                {
                    "disease": disease,
                    "cohort": cohort,
                    "relation": relation[cohort],
                    "n_slices": int(chosen.sum()),
                    "n_groups": len(set(group_of[chosen])),
                    "share_brain": float(is_brain[chosen].mean()),
                    "share_applies": float(applies[chosen].mean()),
                }
            )
    return {"rows": rows, "heads": heads}


def applicability_report(result: Mapping[str, Any]) -> str:
    """Returns the printed table, with the shares below each head's rows."""
    lines = [
        result["rule"],
        f"{'head':11} {'cohort':17} {'relation':14} {'slices':>6} {'groups':>6} {'brain':>6} {'applies':>8}",
    ]
    for disease in dict.fromkeys(row["disease"] for row in result["rows"]):
        own = [row for row in result["rows"] if row["disease"] == disease]
        lines += [
            f"{disease:11} {row['cohort']:17} {row['relation']:14} {row['n_slices']:6d} {row['n_groups']:6d} "
            f"{row['share_brain']:6.1%} {row['share_applies']:8.1%}"
            for row in own
        ]
        found = {name: exact_share(share) for name, share in result["heads"][disease].items()}
        lines.append(
            f"{disease:11} own slices refused {found['refused_own']}; kept away: other cohorts {found['kept_other']}, "
            f"with those alike {found['kept_all']}, pictures {found['kept_pictures']}"
        )
    return "\n".join(lines)
