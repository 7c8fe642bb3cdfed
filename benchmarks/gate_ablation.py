"""Which rules does the gate need? ``python -m benchmarks.gate_ablation MANIFEST [MODEL] [FOLDER OF OTHER IMAGES]``.

Rules are fitted on training slices (folds 2 and 3), their thresholds on fold 4, and fold 1 is measured, with cohorts
outside of every split, synthetic images of another seed, and images that are not brain MRI. Fold 0 is never touched.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np

from sslmri.cohorts.manifest import TRAIN_USE, Record, read_manifest
from sslmri.cohorts.sampling import sample_groups
from sslmri.cohorts.store import Store, open_store
from sslmri.diseases import DISEASES
from sslmri.errors import ScanError
from sslmri.gate.fit import encode, fit_bank, joined, prepared_images
from sslmri.learning.model import Model
from sslmri.models.bank import EncoderFeatures, FeatureBank
from sslmri.scans.slices import Preparation, to_slices
from tests.harness.parsing import parse_scan

COUNTS = {"train": 320, "validation": 130, "test": 200}  # slices per disease; "test" is the fold that is measured
OTHERS = 60  # slices of a cohort outside of every split
N_SYNTHETIC, N_MEASURED = 965, 500
NEIGHBOURS = 8
RULES = (("brain", "domain", "distance"), ("brain", "domain"), ("brain", "distance"), ("domain", "distance"),
         ("brain",), ("domain",), ("distance",), ("distance at 2 %",))  # fmt: skip
Passes = Mapping[str, np.ndarray]  # by disease, bool (N,)


def splits(records: list[Record]) -> Iterator[Record]:
    """Yields the sampled records with the split in which they are used here."""
    for disease in DISEASES:
        labelled = [r for r in records if r.disease == disease and r.use == TRAIN_USE and r.fold]
        last = max(r.fold or 0 for r in labelled if r.cohort != "br35h")  # cheng has no fold 4
        for split, count in COUNTS.items():
            folds = {"train": range(2, last), "validation": range(last, 5), "test": [1]}[split]
            part = [r for r in labelled if r.fold in folds]
            yield from (replace(part[i], split=split) for i in sample_groups(part, count))
    inside = {r.cohort for r in records if r.disease and r.use == TRAIN_USE}
    for cohort in sorted({(r.cohort, r.contrast) for r in records if r.use != "leak_demo"}):
        part = [r for r in records if (r.cohort, r.contrast) == cohort and r.cohort not in inside]
        yield from (replace(part[i], split="outside") for i in sample_groups(part, OTHERS))


def images(folder: Path, preparation: Preparation) -> Iterator[np.ndarray]:
    """Yields the prepared slices of each file that can be read: what its reader refuses never reaches the gate."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            yield to_slices(parse_scan(path.read_bytes(), path.name), preparation)
        except ScanError:
            continue


def rules(bank: FeatureBank, train: Store, validation: Store, seen: EncoderFeatures, n: int) -> dict[str, Passes]:
    """Returns which slices pass each rule; the first ``n`` rows are the validation slices."""
    points, cases = bank.project(seen.features), np.array([record.disease for record in train.records])
    brain = bank.brain_svm.passes(bank.brain_projection.project(seen.textures))
    found: dict[str, dict[str, np.ndarray]] = {"brain": {}, "domain": {}, "distance": {}, "distance at 2 %": {}}
    for disease, svm in bank.domain_svms.items():
        distances = 1 - points @ bank.features[cases == disease].T
        mean = np.partition(distances, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS].mean(axis=1)
        own = mean[:n][[record.disease == disease for record in validation.records]]
        found["brain"][disease] = brain
        found["domain"][disease] = svm.passes(bank.domain_projection.project(seen.features))
        found["distance"][disease] = mean <= 2 * np.quantile(own, 0.99)  # as it was until this ablation
        found["distance at 2 %"][disease] = mean <= np.quantile(own, 0.98)
    return {name: {disease: passes[n:] for disease, passes in by.items()} for name, by in found.items()}


def percentage(is_counted: np.ndarray, groups: np.ndarray) -> str:
    """Returns a fraction of slices with its 95 % interval, from 1000 resamples of whole groups."""
    of = np.unique(groups, return_inverse=True)[1]
    n, k = np.bincount(of), np.bincount(of, is_counted)
    weights = np.random.default_rng(0).multinomial(len(n), np.full(len(n), 1 / len(n)), size=1000)
    low, high = np.quantile(weights @ k / (weights @ n), (0.025, 0.975))
    return f"{100 * is_counted.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"


def main() -> int:
    """Prints the table."""
    model = Model.load(Path(sys.argv[2] if len(sys.argv) > 2 else "models/default"))
    preparation = model.card.encoder.preparation
    store = open_store(list(splits(read_manifest(Path(sys.argv[1])))), preparation, Path(".cache"))
    train, validation, test, outside = (store.where(split=s) for s in (*COUNTS, "outside"))
    seen: Callable[[np.ndarray], EncoderFeatures] = lambda slices: encode(model, slices)  # noqa: E731
    calibration = seen(validation.slices)
    bank = fit_bank(seen(train.slices), train.records, calibration, validation.records,
                    seen(prepared_images(train.slices, preparation, N_SYNTHETIC)))  # fmt: skip
    synthetic = prepared_images(test.slices, preparation, N_MEASURED, seed=1)
    other = [own[0] for own in images(Path(sys.argv[3]), preparation)] if len(sys.argv) > 3 else []
    parts = [test.slices, outside.slices, synthetic, np.array(other, np.uint8).reshape(-1, *preparation.image_size)]
    found = rules(bank, train, validation, joined([calibration, *map(seen, parts)]), len(validation.records))
    records, n_other = [*test.records, *outside.records], len(other)
    groups = np.array([record.group_key for record in records])
    is_test = np.arange(len(records)) < len(test.records)
    print("| rules | in distribution, rejected | synthetic, accepted | other images | other cohorts, rejected |")
    print("|---|---|---|---|---|")
    for names in RULES:
        passes = {key: reduce(np.logical_and, [found[name][key] for name in names]) for key in bank.domain_svms}
        own = np.array([not passes[str(record.disease)][i] for i, record in enumerate(test.records)])
        accepted = np.logical_or.reduce(list(passes.values()))[len(records) :]
        n_synthetic = len(accepted) - n_other
        cells = [percentage(own, groups[is_test]), f"{100 * accepted[:n_synthetic].mean():.1f}"]
        cells.append(f"{accepted[n_synthetic:].sum()} of {n_other}")
        away = [np.array([r.disease != key for r in records]) for key in passes]
        cells.append("; ".join(f"{key} {percentage(~passes[key][: len(records)][rows], groups[rows])}"
                               for key, rows in zip(passes, away, strict=True)))  # fmt: skip
        print(f"| {' + '.join(names)} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
