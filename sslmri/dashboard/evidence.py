"""The evidence that lies beside a model, as far as it is there."""

import json
from typing import Any

import pandas as pd

from sslmri.cohorts.splits import EVIDENCE_FOLDERS, GROUP_DISJOINT
from sslmri.diseases import Disease
from sslmri.errors import ModelError
from sslmri.evidence.stored import METRICS_FILE, read_metrics, read_predictions
from sslmri.learning.cards import ModelCard
from sslmri.learning.run import read_history

EVIDENCE = EVIDENCE_FOLDERS[GROUP_DISJOINT]
DATA_FILE = "data.json"


def find_metrics(card: ModelCard, protocol: str = GROUP_DISJOINT) -> dict[str, Any] | None:
    """Returns the metrics of a protocol that lie beside the model, or None where there are none.

    Those of another protocol than the model's own are of another encoder, which they name: what was trained with
    people on both sides cannot be measured without, nor the other way round.

    Raises:
        ModelError: the metrics are damaged, of another protocol, or should be of the model's encoder and are not.
    """
    folder = card.folder / EVIDENCE_FOLDERS[protocol]
    if not (folder / METRICS_FILE).exists():
        return None
    metrics = read_metrics(folder)
    if metrics["protocol"] != protocol:
        raise ModelError(
            f"Expected metrics of the protocol {protocol} in {folder}, got those of {metrics['protocol']}: "
            "run `python train.py evaluate` again."
        )
    own = {head.encoder_sha256 for head in card.heads.values()}
    is_own = card.training.get("protocol", GROUP_DISJOINT) == protocol
    if is_own and metrics["encoder_sha256"] not in own:
        raise ModelError(
            f"Expected metrics of this model's encoder in {folder}, got those of {metrics['encoder_sha256'][:12]}: "
            "run `python train.py evaluate` again."
        )
    return metrics


def find_summary(card: ModelCard) -> dict[str, Any] | None:
    """Returns the summary of the data that the model learned from, or None where there is none."""
    path = card.folder / EVIDENCE / DATA_FILE
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"Expected the summary of the data in {path}, got something else: evaluate again.") from error
    return summary


def find_history(card: ModelCard, step: str) -> list[dict[str, Any]]:
    """Returns the epochs of a training step, none where they were not kept."""
    return read_history(card.folder / EVIDENCE / f"{step}.jsonl")


def find_roc(card: ModelCard, disease: Disease, protocol: str = GROUP_DISJOINT) -> pd.DataFrame:
    """Returns the ROC curves of a disease from the predictions stored for a protocol.

    Raises:
        ModelError: the predictions are missing or damaged.
    """
    from sslmri.evidence.curves import roc_curves  # scikit-learn, which only the performance page needs

    return roc_curves(read_predictions(card.folder / EVIDENCE_FOLDERS[protocol], disease.key), disease)
