"""A model of the former format with weights of no use, for tests that do not run it."""

import hashlib
import json
from pathlib import Path

SHA = "a" * 64
PREPARATION = {
    "image_size": [96, 96], "plane": "axial", "slice_fraction": 0.6, "intensity_percentiles": [1.0, 99.5],
    "crop_to_head": False, "margin_fraction": 0.04, "mean": 0.25, "std": 0.29, "slice_spacing_mm": 4.0,
}  # fmt: skip


def write_former_model(folder: Path) -> None:
    """Writes a model with one head."""
    (folder / "heads").mkdir(parents=True)
    (folder / "encoder.safetensors").write_bytes(b"weights of the encoder")
    (folder / "heads" / "ms.safetensors").write_bytes(b"weights of the head")
    encoder_sha256 = hashlib.sha256((folder / "encoder.safetensors").read_bytes()).hexdigest()
    encoder = {
        "architecture": "resnet50-1ch-os16", "feature_dim": 2048, "preparation": PREPARATION,
        "pretraining": {"epochs": 5, "precision": "bfloat16", "protocol": "group-disjoint"}, "knn": {"ms": 0.9},
        "cohorts": ["a", "b"], "groups_sha256": SHA, "n_groups": 3, "n_slices": 7, "versions": {}, "created": "then",
    }  # fmt: skip
    head = {
        "disease": "ms", "classes": ["normal", "multiple_sclerosis"], "encoder_sha256": encoder_sha256,
        "regime": "fine-tune", "finetuning": {"epochs": 2, "location_weight": 0.2}, "calibration_temperature": 1.5,
        "threshold_low": 0.2, "threshold_high": 0.7, "threshold_rule": "rule",
        "threshold_figures": {"low": {"sensitivity": 0.9, "specificity": 0.5}},
        "set_thresholds": {"normal": None, "multiple_sclerosis": 0.3}, "set_rule": "rule", "saliency_scale": 0.2,
        "counts": {label: {"train": [2, 5], "test": [1, 2]} for label in ("normal", "multiple_sclerosis")},
        "created": "then",
    }  # fmt: skip
    (folder / "encoder.json").write_text(json.dumps(encoder))
    (folder / "heads" / "ms.json").write_text(json.dumps(head))
    names = ["encoder.safetensors", "encoder.json", "heads/ms.safetensors", "heads/ms.json"]
    training = {
        "protocol": "group-disjoint",
        "groups_sha256": SHA,
        "n_groups": 2,
        "n_slices": 5,
        "cohorts": {"a": "A."},
    }
    content = {"format": "sslmri-2", "name": "old", "intended_use": "", "created": "then", "training": training}
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / "model.json").write_text(json.dumps(content | {"files": files}))
