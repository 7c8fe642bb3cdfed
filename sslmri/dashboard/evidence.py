"""The evidence that lies beside a model, as far as it is there."""

import json
from typing import Any

import pandas as pd

from sslmri.diseases import Disease
from sslmri.errors import ModelError
from sslmri.evidence.evaluate import METRICS_FILE, read_metrics, read_predictions
from sslmri.learning.cards import ModelCard
from sslmri.learning.run import read_history

EVIDENCE = "evidence"
DATA_FILE = "data.json"


def find_metrics(card: ModelCard) -> dict[str, Any] | None:
    """Returns the model's metrics, or None where it was not evaluated yet.

    Raises:
        ModelError: the metrics are damaged, or belong to another encoder.
    """
    folder = card.folder / EVIDENCE
    if not (folder / METRICS_FILE).exists():
        return None
    metrics = read_metrics(folder)
    own = {head.encoder_sha256 for head in card.heads.values()}
    if metrics["encoder_sha256"] not in own:
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


def find_roc(card: ModelCard, disease: Disease) -> pd.DataFrame:
    """Returns the ROC curves of a disease from the stored predictions.

    Raises:
        ModelError: the predictions are missing or damaged.
    """
    from sslmri.evidence.curves import roc_curves  # scikit-learn, which only the performance page needs

    return roc_curves(read_predictions(card.folder / EVIDENCE, disease.key), disease)
