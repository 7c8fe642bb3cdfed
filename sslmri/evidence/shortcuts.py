"""What a head could know without seeing the disease: shortcut controls, and false alarms on healthy scans."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sslmri.diseases import Disease, class_title
from sslmri.errors import ModelError, TrainingError
from sslmri.evidence.intervals import MIN_GROUPS, Interval, interval, shortage
from sslmri.evidence.metrics import Metrics, compute_metrics
from sslmri.evidence.sample import N_RESAMPLES, draw_weights, ratio
from sslmri.scans.slices import head_mask

FORMAT = "sslmri-controls-1"
CONTROLS_FILE = "controls.json"
CONTROLS = {"background": "background only", "thumbnail": "8 x 8 thumbnails", "file": "file size, sides and format"}
RULE = (
    "A shortcut carries a result when a control that sees little or nothing of the disease has a balanced accuracy "
    "whose interval lies above chance and whose figure is not below the model's interval; it explains a part of the "
    "result when only its interval lies above chance."
)
CARRIES, PART, NOTHING, UNKNOWN = "carries", "part", "nothing", "unknown"
_THUMBNAIL = 8
_MARGIN_FRACTION = 0.03  # of the shorter side: the blur of a resized outline, and the skin that is darker than the head
_STRENGTH = 0.01  # C of the probe: as many features as slices
_KEYS = {"format", "created", "encoder_sha256", "rules", "diseases", "family_wise"}
_ADVICE = "run `python train.py controls` again"


def blank_head(slices: np.ndarray) -> np.ndarray:
    """Returns prepared slices (N, H, W) uint8 with the head, and a margin around it, at 0."""
    margin = max(1, round(_MARGIN_FRACTION * min(slices.shape[1:])))
    heads = [ndimage.binary_dilation(head_mask(one), iterations=margin) for one in slices]
    return np.where(np.stack(heads), 0, slices).astype(np.uint8) if heads else slices.copy()


def thumbnails(slices: np.ndarray) -> np.ndarray:
    """Returns slices (N, H, W) uint8 as rows of 8 x 8 mean grey values in [0, 1]: (N, 64)."""
    size = (_THUMBNAIL, _THUMBNAIL)
    small = [Image.fromarray(one).resize(size, Image.Resampling.BOX) for one in slices]
    rows = [np.asarray(one, dtype=np.float64).ravel() / 255.0 for one in small]
    return np.stack(rows) if rows else np.zeros((0, _THUMBNAIL**2))


def file_traits(paths: Sequence[Path]) -> np.ndarray:
    """Returns what files say without being opened as pictures: (N, F), the logarithms of bytes, width and height,
    then one column for each format and mode that occurs.

    Raises:
        TrainingError: a file is no longer there.
    """
    found = pd.DataFrame([_traits(path) for path in paths], columns=["bytes", "width", "height", "format", "mode"])
    numbers = np.log1p(found[["bytes", "width", "height"]].to_numpy(dtype=np.float64))
    return np.hstack([numbers, pd.get_dummies(found[["format", "mode"]]).to_numpy(dtype=np.float64)])


def _traits(path: Path) -> tuple[int, int, int, str, str]:
    try:
        with Image.open(path) as image:
            return path.stat().st_size, image.width, image.height, str(image.format), image.mode
    except UnidentifiedImageError:
        return path.stat().st_size, 0, 0, path.suffix.lower(), ""
    except OSError as error:
        raise TrainingError(f"Expected {path}, got: {error.strerror}: restore the file and start again.") from error


def control_probabilities(
    train: np.ndarray, truth: np.ndarray, test: np.ndarray, n_classes: int, is_wide: bool = False
) -> np.ndarray:
    """Returns what a class-balanced logistic regression on standardised traits says of the test rows: (M, C).

    Args:
        train: (N, F) of the training slices.
        truth: (N,) class indices.
        test: (M, F).
        n_classes: C; a class without training slices gets 0.
        is_wide: whether the rows are features of an encoder, which are many and need a firmer hand.

    Raises:
        TrainingError: there are no training slices.
    """
    if len(train) == 0:
        raise TrainingError("Expected training slices for the controls, got none: check the split of the manifest.")
    probabilities = np.zeros((len(test), n_classes))
    present = np.unique(truth)
    if len(present) == 1:
        probabilities[:, present] = 1.0
        return probabilities
    regression = LogisticRegression(C=_STRENGTH if is_wide else 1.0, class_weight="balanced", max_iter=2000)
    model = make_pipeline(StandardScaler(), regression).fit(train, truth)
    probabilities[:, model.classes_] = model.predict_proba(test)
    return probabilities


def compare_with_shortcuts(
    disease: Disease,
    truth: np.ndarray,
    model: np.ndarray,
    controls: Mapping[str, np.ndarray],
    groups: np.ndarray,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the figures of a model and of its controls on the same test slices, with what ``RULE`` says of them.

    Args:
        disease: the head's disease.
        truth: (N,) class indices.
        model: (N, C) probabilities of the model.
        controls: (N, C) of each control, by its name in ``CONTROLS``.
        groups: (N,) names.
        seed: of the bootstrap.
    """
    own = compute_metrics(truth, model, groups, N_RESAMPLES, seed)
    n_present = sum(found["groups"] > 0 for found in own["per_class"])
    chance = 1 / n_present
    is_estimable = n_present > 1 and own["auroc"]["reason"] is None
    results, sentences = {}, []
    for name, probabilities in controls.items():
        figures = compute_metrics(truth, probabilities, groups, N_RESAMPLES, seed)
        verdict = _verdict(figures["balanced_accuracy"], own["balanced_accuracy"], chance if is_estimable else None)
        results[name] = {**_kept(figures), "verdict": verdict}
        sentences.append(_sentence(name, figures["balanced_accuracy"], own["balanced_accuracy"], chance, verdict))
    shared = {"n_slices": own["n_slices"], "n_groups": own["n_groups"], "chance": chance}
    return {**shared, "model": _kept(own), "controls": results, "sentences": sentences + _scarce(disease, own)}


def _kept(figures: Metrics) -> dict[str, Interval]:
    return {"balanced_accuracy": figures["balanced_accuracy"], "auroc": figures["auroc"]}


def _verdict(control: Interval, model: Interval, chance: float | None) -> str:
    if chance is None or control["low"] is None or control["value"] is None or model["low"] is None:
        return UNKNOWN
    if control["low"] <= chance:
        return NOTHING
    return CARRIES if control["value"] >= model["low"] else PART


def _sentence(name: str, control: Interval, model: Interval, chance: float, verdict: str) -> str:
    title = CONTROLS[name][0].upper() + CONTROLS[name][1:]
    if verdict == UNKNOWN:
        return f"{title}: whether this shortcut carries the result cannot be told from so few test groups."
    figure = f"{title} alone: balanced accuracy {_figure(control)}"
    if verdict == NOTHING:
        return f"{figure}, an interval that includes chance ({chance:.2f}): not shown to carry the result."
    own = f"the model's {_figure(model)}"
    if verdict == PART:
        return f"{figure}, above chance ({chance:.2f}) but below {own}: this shortcut can explain a part of the result."
    return f"{figure}, above chance ({chance:.2f}) and not below the interval of {own}: a shortcut carries the result."


def _figure(figure: Interval) -> str:
    return f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


def _scarce(disease: Disease, figures: Metrics) -> list[str]:
    """Returns a sentence that names the classes with too few test groups, if there are any."""
    found = zip(disease.classes, figures["per_class"], strict=True)
    few = [f"{class_title(label)} ({own['groups']})" for label, own in found if 0 < own["groups"] < MIN_GROUPS]
    return (
        [f"Classes with under {MIN_GROUPS} test groups: {', '.join(few)}; read all of this with care."] if few else []
    )


def mean_figure(values: np.ndarray, groups: np.ndarray, seed: int = 0) -> Interval:
    """Returns the mean over slices with its interval from a bootstrap over groups, of shares and of other values.

    Args:
        values: (N,).
        groups: (N,) names.
        seed: of the bootstrap.
    """
    names, member = np.unique(groups, return_inverse=True)
    weights = draw_weights(np.zeros(len(names)), N_RESAMPLES, seed)
    sums, sizes = np.bincount(member, weights=values), np.bincount(member)
    n_groups = len(names) if np.isin(values, (0, 1)).all() else 0
    return interval(ratio(weights @ sums, weights @ sizes, np.nan), shortage(len(names)), n_groups)


def false_alarms(flagged: np.ndarray, cohorts: np.ndarray, groups: np.ndarray) -> dict[str, dict[str, Any]]:
    """Returns the share of healthy slices that one head flags, by cohort, with its interval and both counts.

    Args:
        flagged: (N,) bool.
        cohorts: (N,) names.
        groups: (N,) names.
    """
    found = {}
    for name in np.unique(cohorts):
        own, own_groups = flagged[cohorts == name].astype(np.float64), groups[cohorts == name]
        counts = {"n_slices": len(own), "n_groups": len(np.unique(own_groups))}
        found[str(name)] = {**counts, "flagged": mean_figure(own, own_groups)}
    return found


def read_controls(folder: Path) -> dict[str, Any] | None:
    """Returns the content of ``controls.json`` in a folder of evidence, None where there is none.

    Raises:
        ModelError: it is damaged or of another format.
    """
    path = folder / CONTROLS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"Expected JSON in {path}, got something else: {_ADVICE}.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.keys() >= _KEYS:
        raise ModelError(f"Expected controls of format {FORMAT} in {path}, got others: {_ADVICE}.")
    return content
