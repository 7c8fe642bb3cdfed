"""The feature bank as tables: its slices, their 2-D maps, and what neighbours have in common.

scikit-learn is imported where it is used: it is slow to load, and only this page needs it.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sslmri.diseases import DISEASES, class_title

if TYPE_CHECKING:
    from sslmri.models.bank import FeatureBank

N_NEIGHBOURS = 5
MAX_TSNE = 2000  # points; twice as many take more than twice as long
_TSNE_STEPS = 500  # half of scikit-learn's: the clusters are stable by then, and the user waits half as long
ALL = "all"
PCA, TSNE = "PCA", "t-SNE"
_FIELDS = ["disease", "label", "cohort", "group", "split", "slice"]
_COMMON = {"group": ["group"], "cohort": ["cohort"], "disease": ["disease"], "class": ["disease", "label"]}


def case_table(bank: "FeatureBank") -> pd.DataFrame:
    """Returns one row per slice of the bank: disease, label, cohort, group, split and slice, in the bank's order."""
    return pd.DataFrame(bank.cases, dtype=object)[_FIELDS]  # a slice without a number stays None


def rows_of(table: pd.DataFrame, disease: str) -> np.ndarray:
    """Returns the row numbers of a disease's slices, or of all."""
    return np.flatnonzero((table["disease"] == disease) | (disease == ALL))


def pca_map(features: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the first two principal components of features (N, d) as (N, 2), and the fraction of variance in them."""
    from sklearn import decomposition

    pca = decomposition.PCA(2, svd_solver="covariance_eigh")
    return pca.fit_transform(features), float(pca.explained_variance_ratio_.sum())


def tsne_sample(n_slices: int) -> np.ndarray:
    """Returns which of so many slices t-SNE maps: all, or ``MAX_TSNE`` drawn at random, always the same."""
    if n_slices <= MAX_TSNE:
        return np.arange(n_slices)
    return np.sort(np.random.default_rng(0).choice(n_slices, MAX_TSNE, replace=False))


def tsne_map(features: np.ndarray) -> np.ndarray:
    """Returns t-SNE of features (N, d) as (N, 2), the same at every call (van der Maaten and Hinton 2008)."""
    from sklearn import manifold

    perplexity = min(30.0, (len(features) - 1) / 3)
    tsne = manifold.TSNE(perplexity=perplexity, init="pca", max_iter=_TSNE_STEPS, random_state=0)
    return np.asarray(tsne.fit_transform(features))


def neighbours(
    features: np.ndarray, table: pd.DataFrame, row: int, is_other_group: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the slices nearest to one, nearest first, and their cosine distances in the bank's features.

    Features are (N, d), of length 1, in the order of the table from ``case_table``. Slices of the same group may be
    left out.
    """
    distances = 1 - features @ features[row]
    distances[table["group"] == table["group"].iloc[row] if is_other_group else row] = np.inf
    nearest = np.argsort(distances, kind="stable")[:N_NEIGHBOURS]
    nearest = nearest[np.isfinite(distances[nearest])]
    return nearest, distances[nearest]


def neighbour_table(table: pd.DataFrame, rows: np.ndarray, distances: np.ndarray, row: int) -> pd.DataFrame:
    """Returns the neighbours of a slice as the page lists them."""
    nearest = table.iloc[rows].reset_index(drop=True)
    listed = pd.DataFrame({"distance": np.round(distances, 3), "class": class_names(nearest)})
    is_same = nearest["group"] == table["group"].iloc[row]
    return listed.join(nearest[["cohort", "group", "slice"]]).assign(**{"same group": np.where(is_same, "yes", "no")})


def selection_table(table: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Returns how many slices and groups a selection has by class and cohort, most slices first."""
    selected = table.iloc[rows]
    groups = selected.assign(**{"class": class_names(selected)}).groupby(["class", "cohort"], sort=False)["group"]
    counts = groups.agg(slices="size", groups="nunique").reset_index()
    return counts.sort_values("slices", ascending=False, ignore_index=True)


def neighbour_agreement(features: np.ndarray, table: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean fraction of a slice's nearest neighbours with its group, cohort, disease and class.

    For the group all other slices may be neighbours, and only slices whose group has enough others count; for cohort,
    disease and class the slices of the same group are left out. ``random pairs`` is the fraction among slices drawn at
    random. What all slices have in common is left out. Features and table are as for ``neighbours``.
    """
    codes = {name: table.groupby(fields, sort=False).ngroup().to_numpy() for name, fields in _COMMON.items()}
    same = {name: code[:, None] == code for name, code in codes.items()}
    others = ~np.eye(len(table), dtype=bool)
    rows = []
    for name in _COMMON:
        may = others if name == "group" else ~same["group"]
        is_counted = np.count_nonzero(same["group"], axis=1) > (N_NEIGHBOURS if name == "group" else 0)
        if not is_counted.any() or same[name].all():
            continue
        distances = np.where(may, 1 - features @ features.T, np.inf)
        nearest = np.argpartition(distances, min(N_NEIGHBOURS, len(table) - 1), axis=1)[:, :N_NEIGHBOURS]
        is_there = np.take_along_axis(may, nearest, axis=1)
        is_same = np.ma.masked_array(np.take_along_axis(same[name], nearest, axis=1), ~is_there)[is_counted]
        chance = (same[name] & may).sum(axis=1) / np.maximum(may.sum(axis=1), 1)
        rows.append(
            (f"same {name}", float(is_same.mean() or 0), float(chance[is_counted].mean()), int(is_counted.sum()))
        )
    return pd.DataFrame(rows, columns=["in common", "nearest", "random pairs", "slices"])


def named(disease: str, label: str) -> str:
    """Returns the title of a class with its disease."""
    return f"{DISEASES[disease].title}: {class_title(label)}"


def class_names(table: pd.DataFrame) -> list[str]:
    """Returns the title of each slice's class with its disease."""
    return [named(disease, label) for disease, label in zip(table["disease"], table["label"], strict=True)]
