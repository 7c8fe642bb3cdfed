"""The evidence that lies beside a model, as far as it is there."""

import json
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import pandas as pd
import streamlit as st

from sslmri.cohorts.splits import AS_PUBLISHED, EVIDENCE_FOLDERS, GROUP_DISJOINT, Protocol
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import Disease
from sslmri.errors import ModelError
from sslmri.evidence.evidence_io import METRICS_FILE, read_metrics, read_predictions
from sslmri.evidence.gate import APPLICABILITY_FILE
from sslmri.models.cards import ModelCard
from sslmri.models.history import read_history

EVIDENCE = EVIDENCE_FOLDERS[GROUP_DISJOINT]
DATA_FILE = "data.json"
_APPLICABILITY_ROW = {"disease", "cohort", "relation", "n_slices", "n_groups", "share_brain", "share_applies"}
_SUMMARY_ROWS = {  # what each row of a summary's tables holds
    "classes": {"disease", "label", "split", "groups", "slices"},
    "sizes": {"cohort", "width", "height", "slices"},
    "intensity": {"disease", "label", "n_slices", "density", "quantiles", "contrast"},
    "formats": {"cohort", "format", "slices"},
    "use": {"cohort", "disease", "use", "slices", "groups"},
    "faults": {"disease", "text"},
}

_P = ParamSpec("_P")
_T = TypeVar("_T")


def try_read(find: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
    """Returns what ``find`` finds; where that cannot be used, draws one line that says why and returns None."""
    try:
        return find(*args, **kwargs)
    except ModelError as error:
        st.caption(escape_markdown(str(error)))
        return None


def protocol_of(card: ModelCard) -> Protocol:
    """Returns the protocol that the model was trained by; models from before there were two say nothing."""
    return AS_PUBLISHED if card.training.get("protocol") == AS_PUBLISHED else GROUP_DISJOINT


def find_metrics(card: ModelCard, protocol: str | None = None) -> dict[str, Any] | None:
    """Returns the metrics of a protocol that lie beside the model, or None where there are none.

    Those of another protocol than the model's own are of another encoder, which they name: what was trained with
    people on both sides cannot be measured without, nor the other way round.

    Args:
        card: the model's.
        protocol: the model's own where none is given.

    Raises:
        ModelError: the metrics are damaged, of another protocol, or should be of the model's heads and are not.
    """
    protocol = protocol or protocol_of(card)
    folder = card.folder / EVIDENCE_FOLDERS[protocol]
    if not (folder / METRICS_FILE).exists():
        return None
    metrics = read_metrics(folder)
    if metrics["protocol"] != protocol:
        raise ModelError(
            f"Expected metrics of the protocol {protocol} in {folder}, got those of {metrics['protocol']}: "
            "run `python train.py evaluate` again."
        )
    if protocol == protocol_of(card):
        check_own(card, metrics, "metrics", "evaluate")
    return metrics


def find_unseen_metrics(card: ModelCard) -> dict[str, Any] | None:
    """Returns the metrics of the model on people it never saw, or None where it was not measured on any.

    Raises:
        ModelError: see ``find_metrics``.
    """
    return find_metrics(card) if protocol_of(card) == GROUP_DISJOINT else None


def check_own(card: ModelCard, found: Mapping[str, Any], what: str, command: str) -> None:
    """Refuses evidence of another encoder than the model's, or from before its heads were taught.

    Args:
        card: the model's.
        found: the evidence, which names its encoder and when it was made.
        what: what the evidence is.
        command: of ``train.py``, that makes it.

    Raises:
        ModelError: naming both.
    """
    if not is_own(card, found):
        raise ModelError(
            f"Expected {what} of this model's encoder, got those of {found['encoder_sha256'][:12]}: "
            f"run `python train.py {command}` again."
        )
    taught = max(head.created for head in card.heads.values())
    if str(found["created"]) < taught:
        raise ModelError(
            f"Expected {what} of this model's heads, taught {taught}, got older ones of {found['created']}: "
            f"run `python train.py {command}` again."
        )


def is_own(card: ModelCard, found: Mapping[str, Any]) -> bool:
    """Returns whether evidence is of the model's own encoder."""
    return found["encoder_sha256"] in {head.encoder_sha256 for head in card.heads.values()}


def find_summary(card: ModelCard) -> dict[str, Any] | None:
    """Returns the summary of the data that the model learned from, or None where there is none.

    Raises:
        ModelError: it is damaged, or of another version.
    """
    return _read(card, DATA_FILE, "the summary of the data", "evaluate", _check_summary)


def find_applicability(card: ModelCard) -> dict[str, Any] | None:
    """Returns whom each head answers, measured by cohort, or None where the model was not measured so.

    Raises:
        ModelError: it is damaged, or of another encoder.
    """
    found = _read(card, APPLICABILITY_FILE, "the table of whom each head answers", "bank", _check_applicability)
    if found and not is_own(card, found):
        raise ModelError(
            "Expected the table of whom each head answers of this model's encoder, got another's: run "
            "`python train.py bank` again."
        )
    return found


def _read(
    card: ModelCard, file: str, what: str, command: str, check: Callable[[dict[str, Any]], None]
) -> dict[str, Any] | None:
    """Returns a file of evidence that passes its check, which raises KeyError or TypeError; None without the file."""
    path = card.folder / EVIDENCE_FOLDERS[protocol_of(card)] / file
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        check(found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"Expected {what} in {path}, got something else: run `python train.py {command}` again."
        ) from error
    return found


def _check_applicability(found: dict[str, Any]) -> None:
    if not all(row.keys() >= _APPLICABILITY_ROW for row in found["rows"]):
        raise KeyError("rows")
    if found["heads"].keys() != {row["disease"] for row in found["rows"]}:
        raise KeyError("heads")


def _check_summary(summary: dict[str, Any]) -> None:
    for table, keys in _SUMMARY_ROWS.items():
        if not all(row.keys() >= keys for row in summary[table]):
            raise KeyError(table)


def find_history(card: ModelCard, step: str, protocol: str) -> list[dict[str, Any]]:
    """Returns the epochs of a training step of the model measured by that protocol, none where they were not kept."""
    return read_history(card.folder / EVIDENCE_FOLDERS[protocol] / f"{step}.jsonl")


def find_roc(card: ModelCard, disease: Disease, protocol: str = GROUP_DISJOINT) -> pd.DataFrame:
    """Returns the ROC curves of a disease from the predictions stored for a protocol.

    Raises:
        ModelError: the predictions are missing or damaged.
    """
    from sslmri.evidence.curves import roc_curves  # scikit-learn, which only the performance page needs

    return roc_curves(read_predictions(card.folder / EVIDENCE_FOLDERS[protocol], disease.key), disease)
