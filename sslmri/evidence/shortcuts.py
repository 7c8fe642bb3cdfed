"""What a classifier could know without seeing the disease: shortcut controls."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from sslmri.cohorts.registry import MIN_GROUPS
from sslmri.diseases import Disease, class_title
from sslmri.errors import TrainingError
from sslmri.evidence.baselines import small_pixels
from sslmri.evidence.intervals import disease_shortage, estimate, rate_of, shortage
from sslmri.evidence.metrics import aurocs, balanced_accuracy, confusions
from sslmri.evidence.sample import Sample, draw_sample, draw_weights
from sslmri.evidence.subsets import any_disease_aurocs
from sslmri.models.metrics import Estimate, ShortcutMetrics
from sslmri.scans.slices import head_mask
from sslmri.text import capital

CONTROLS = {
    "background": "background only",
    "thumbnail": "8 x 8 thumbnails",
    "file": "file size, image dimensions and format",
}
RULE = (
    "A shortcut explains a result when a control that sees little or nothing of the disease has a balanced accuracy "
    "whose interval lies above chance and whose value is not below the model's interval. It may explain a part of the "
    "result when only its interval lies above chance."
)
CARRIES, PART, NOTHING, UNKNOWN = "carries", "part", "nothing", "unknown"
_THUMBNAIL = 8
_MARGIN_FRACTION = 0.03  # of the shorter side: the blur of a resized outline, and the skin that is darker than the head


def blank_head(slices: np.ndarray) -> np.ndarray:
    """Returns prepared slices (N, H, W) uint8 with the head, and a margin around it, at 0."""
    margin = max(1, round(_MARGIN_FRACTION * min(slices.shape[1:])))
    heads = [ndimage.binary_dilation(head_mask(one), iterations=margin) for one in slices]
    return np.where(np.stack(heads), 0, slices).astype(np.uint8) if heads else slices.copy()


def thumbnails(slices: np.ndarray) -> np.ndarray:
    """Returns slices (N, H, W) uint8 as rows of 8 x 8 mean intensities in [0, 1]: (N, 64)."""
    return small_pixels(slices, _THUMBNAIL) / 255.0


def file_traits(paths: Sequence[Path]) -> np.ndarray:
    """Returns what files show without being decoded: (N, F), the logarithms of bytes, width and height, then
    one column for each format and mode that occurs.

    Raises:
        TrainingError: a file is no longer there.
    """
    traits = pd.DataFrame([_traits(path) for path in paths], columns=["bytes", "width", "height", "format", "mode"])
    numbers = np.log1p(traits[["bytes", "width", "height"]].to_numpy(dtype=np.float64))
    return np.hstack([numbers, pd.get_dummies(traits[["format", "mode"]]).to_numpy(dtype=np.float64)])


def _traits(path: Path) -> tuple[int, int, int, str, str]:
    try:
        with Image.open(path) as image:
            return path.stat().st_size, image.width, image.height, str(image.format), image.mode
    except UnidentifiedImageError:
        return path.stat().st_size, 0, 0, path.suffix.lower(), ""
    except OSError as error:
        raise TrainingError(f"Expected {path}, got: {error.strerror}: restore the file and start again.") from error


def compare_with_shortcuts(
    disease: Disease,
    truth: np.ndarray,
    model: np.ndarray,
    controls: Mapping[str, np.ndarray],
    groups: np.ndarray,
) -> tuple[float, ShortcutMetrics, dict[str, ShortcutMetrics], list[str]]:
    """Returns chance, the metrics of a model and of its controls on the same test slices, and what they mean.

    Class indices and names of groups are (N,), probabilities (N, C), those of controls by their names in ``CONTROLS``.
    """
    sample = draw_sample(truth, model, groups)
    present = {label: int((sample.labels == index).sum()) for index, label in enumerate(disease.classes)}
    chance = 1 / sum(n > 0 for n in present.values())
    reference = _metrics(sample)
    is_estimable = chance < 1 and reference.auroc.reason is None
    results, messages = {}, []
    for name, probabilities in controls.items():
        metrics = _metrics(draw_sample(truth, probabilities, groups))
        verdict = _verdict(metrics.balanced_accuracy, reference.balanced_accuracy, chance if is_estimable else None)
        results[name] = replace(metrics, verdict=verdict)
        messages.append(_message(name, metrics.balanced_accuracy, reference.balanced_accuracy, chance, verdict))
    few = [f"{class_title(label)} ({n})" for label, n in present.items() if 0 < n < MIN_GROUPS]
    if few:
        messages.append(f"Classes with fewer than {MIN_GROUPS} test groups: {', '.join(few)}; interpret with care.")
    return chance, reference, results, messages


def _metrics(sample: Sample) -> ShortcutMetrics:
    return ShortcutMetrics(
        estimate(balanced_accuracy(confusions(sample)), shortage(len(sample.labels))),
        estimate(any_disease_aurocs(sample), disease_shortage(sample.labels)),
    )


def _verdict(control: Estimate, model: Estimate, chance: float | None) -> str:
    if chance is None or control.low is None or control.value is None or model.low is None:
        return UNKNOWN
    if control.low <= chance:
        return NOTHING
    return CARRIES if control.value >= model.low else PART


def _message(name: str, control: Estimate, model: Estimate, chance: float, verdict: str) -> str:
    title = capital(CONTROLS[name])
    if verdict == UNKNOWN:
        return f"{title}: too few test groups to say whether this shortcut explains the result."
    text = f"{title} alone: balanced accuracy {control}"
    if verdict == NOTHING:
        return f"{text}, not above chance ({chance:.2f}): no sign of this shortcut."
    if verdict == PART:
        return f"{text}, above chance ({chance:.2f}) but below the model ({model}): may explain part of the result."
    return f"{text}, above chance ({chance:.2f}) and not below the model ({model}): a shortcut explains this result."


def same_source_aurocs(score: np.ndarray, has_lesion: np.ndarray, groups: np.ndarray) -> tuple[Estimate, Estimate, int]:
    """Returns the AUROC over all slices, its mean within the groups that have both kinds, and how many of these.

    Intervals are from a bootstrap over groups.
    """
    names, member = np.unique(groups, return_inverse=True)
    weights = draw_weights(np.zeros(len(names)))
    kinds, kind = np.unique(2 * member + has_lesion, return_inverse=True)  # the slices of a group without, then with
    order, owner = np.argsort(kind, kind="stable"), kinds // 2
    sample = Sample(score[order, None], np.bincount(kind), kinds % 2, weights[:, owner], order)
    overall = aurocs(sample, sample.labels == 1, score[order])
    both = owner[1:][owner[1:] == owner[:-1]]
    areas = np.array([roc_auc_score(has_lesion[member == group], score[member == group]) for group in both])
    within = rate_of(areas, names[both])
    return estimate(overall, shortage(len(names))), within.rate, within.n_groups


def same_source_message(auroc: Estimate, within: Estimate) -> str:
    """Returns what the two values say of the classifier, in a sentence."""
    text = f"On slices of the same patients and scanners, AUROC of any tumour: {auroc}; within a patient: {within}"
    if auroc.low is None:
        return f"{text}."
    return f"{text}: {'better' if auroc.low > 0.5 else 'no better'} than chance."
