"""The feature bank as tables: its cases, its 2-D maps, the neighbours of a slice, and what neighbours share."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sslmri.diseases import DISEASES, class_title

if TYPE_CHECKING:
    from sslmri.models.bank import FeatureBank

N_NEIGHBOURS = 5
MAX_TSNE = 2000  # points; twice as many take more than twice as long
_TSNE_STEPS = 500  # half of scikit-learn's: the clusters stand by then, and the reader waits half as long
ALL = "all"
PCA, TSNE = "PCA", "t-SNE"
_FIELDS = ("disease", "label", "cohort", "group", "split", "slice")
_CHUNK = 512  # rows of the distance matrix at a time: 512 x 5,000 float32 are 10 MB


def case_table(bank: "FeatureBank") -> pd.DataFrame:
    """Returns one row a slice of the bank: disease, label, cohort, group, split and slice, in the bank's order."""
    rows = [[getattr(case, field) for field in _FIELDS] for case in bank.cases]
    return pd.DataFrame(rows, columns=list(_FIELDS), dtype=object)  # a slice without a number stays None


def rows_of(table: pd.DataFrame, disease: str) -> np.ndarray:
    """Returns the row numbers of a disease's slices, or of all."""
    return np.flatnonzero(table["disease"] == disease) if disease != ALL else np.arange(len(table))


def pca_map(features: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the two principal components of features (N, d) as (N, 2), and the share of the variance in them."""
    centred = features - features.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    share = float(values[-2:].sum() / max(values.sum(), np.finfo(values.dtype).tiny))
    return centred @ vectors[:, :-3:-1], share


def tsne_sample(n_slices: int) -> np.ndarray:
    """Returns which of so many slices t-SNE lays out: all, or ``MAX_TSNE`` drawn at random, always the same."""
    if n_slices <= MAX_TSNE:
        return np.arange(n_slices)
    return np.sort(np.random.default_rng(0).choice(n_slices, MAX_TSNE, replace=False))


def tsne_map(features: np.ndarray) -> np.ndarray:
    """Returns t-SNE of features (N, d) as (N, 2), the same at every call (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE as Layout  # slow to load, and only who asks for it pays

    perplexity = min(30.0, (len(features) - 1) / 3)
    method = Layout(perplexity=perplexity, init="pca", max_iter=_TSNE_STEPS, random_state=0)
    laid_out: np.ndarray = method.fit_transform(features)
    return laid_out


def neighbours(
    features: np.ndarray, table: pd.DataFrame, row: int, is_other_group: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the slices nearest to one, nearest first, and their cosine distances in the bank's features.

    Args:
        features: (N, d), of length 1.
        table: of the same slices, from ``case_table``.
        row: of the slice.
        is_other_group: whether slices of its own group are left out.
    """
    distances = 1 - features @ features[row]
    distances[table["group"] == table["group"].iloc[row] if is_other_group else row] = np.inf
    nearest = np.argsort(distances, kind="stable")[:N_NEIGHBOURS]
    nearest = nearest[np.isfinite(distances[nearest])]
    return nearest, distances[nearest]


def neighbour_table(table: pd.DataFrame, rows: np.ndarray, distances: np.ndarray, row: int) -> pd.DataFrame:
    """Returns the neighbours of a slice as the page lists them."""
    own = table.iloc[rows]
    return pd.DataFrame(
        {
            "distance": np.round(distances, 3),
            "class": [named(disease, label) for disease, label in zip(own["disease"], own["label"], strict=True)],
            "cohort": own["cohort"].to_numpy(),
            "group": own["group"].to_numpy(),
            "slice": own["slice"].to_numpy(),
            "same group": np.where(own["group"] == table["group"].iloc[row], "yes", "no"),
        }
    )


def selection_table(table: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Returns what a set of slices is made of: slices and groups by class and cohort, most slices first."""
    own = table.iloc[rows]
    names = [named(disease, label) for disease, label in zip(own["disease"], own["label"], strict=True)]
    counted = own.assign(**{"class": names}).groupby(["class", "cohort"], sort=False)["group"]
    counts = counted.agg(slices="size", groups="nunique").reset_index()
    return counts.sort_values("slices", ascending=False, ignore_index=True)


def neighbour_shares(features: np.ndarray, table: pd.DataFrame) -> pd.DataFrame:
    """Returns how many of a slice's nearest neighbours share its group, cohort, disease and class, as mean shares.

    For the group all other slices may be neighbours, and only slices whose group has enough others are asked; for
    cohort, disease and class the slice's own group is left out. ``chance`` is the share that neighbours drawn at
    random would have. What all slices share says nothing and is left out.

    Args:
        features: (N, d), of length 1.
        table: of the same slices, from ``case_table``.
    """
    codes = {name: _codes(table, fields) for name, fields in _SHARED.items()}
    group = codes["group"]
    first = _nearest(features, group, is_other_group=False)
    others = _nearest(features, group, is_other_group=True)
    rows = []
    for name, code in codes.items():
        is_group = name == "group"
        asked = np.bincount(group)[group] > N_NEIGHBOURS if is_group else np.ones(len(code), dtype=bool)
        if not asked.any() or len(np.unique(code)) == 1:
            continue
        found, there = _same(code, first if is_group else others)
        chance = _chance(code, None if is_group else group)
        share = float(found[asked].sum() / max(there[asked].sum(), 1))
        rows.append((name, share, float(chance[asked].mean()), int(asked.sum())))
    return pd.DataFrame(rows, columns=["shared", "share", "chance", "slices"])


_SHARED = {"group": ["group"], "cohort": ["cohort"], "disease": ["disease"], "class": ["disease", "label"]}


def named(disease: str, label: str) -> str:
    """Returns a class as people write it, with its disease; nothing is known of an unlabelled slice."""
    return f"{DISEASES[disease].title}: {class_title(label)}" if disease in DISEASES else "not labelled"


def _codes(table: pd.DataFrame, fields: list[str]) -> np.ndarray:
    """Returns a number for each combination of the fields: (N,) int."""
    return table.groupby(fields, sort=False).ngroup().to_numpy()


def _nearest(features: np.ndarray, group: np.ndarray, is_other_group: bool) -> np.ndarray:
    """Returns the rows of each slice's nearest neighbours, (N, k); -1 where there are fewer."""
    k = min(N_NEIGHBOURS, len(features) - 1)
    nearest = np.empty((len(features), k), dtype=np.int64)
    for start in range(0, len(features), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(features)))
        closeness = features[rows] @ features.T
        closeness[np.arange(len(rows)), rows] = -np.inf
        if is_other_group:
            closeness[group[rows][:, None] == group] = -np.inf
        best = np.argpartition(-closeness, k - 1, axis=1)[:, :k]
        nearest[rows] = np.where(np.isfinite(np.take_along_axis(closeness, best, axis=1)), best, -1)
    return nearest


def _same(code: np.ndarray, nearest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each slice how many neighbours share its code, and how many neighbours it has."""
    there = nearest >= 0
    return ((code[nearest] == code[:, None]) & there).sum(axis=1), there.sum(axis=1)


def _chance(code: np.ndarray, group: np.ndarray | None) -> np.ndarray:
    """Returns for each slice the share of all slices that may be its neighbours which share its code."""
    same = np.bincount(code)[code]
    if group is None:
        return (same - 1) / (len(code) - 1)
    both = pd.Series(code).groupby([code, group]).transform("size").to_numpy()
    return (same - both) / np.maximum(len(code) - np.bincount(group)[group], 1)
