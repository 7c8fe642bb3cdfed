"""Heads fitted by logistic regression: against scikit-learn, and on the halves of the second stage."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sslmri.learning.encoder import Maps, halves
from sslmri.learning.logistic import fit_logistic
from sslmri.learning.model import Head
from sslmri.models.cards import MASKED, Pooling


@pytest.mark.parametrize(("n_classes", "n_components"), [(3, None), (3, 4), (2, None), (2, 4)])
def test_the_head_has_the_probabilities_of_the_pipeline_of_scikit_learn(n_classes: int, n_components: int | None):
    generator = np.random.default_rng(0)
    truth = generator.integers(0, n_classes, 200)
    features = (generator.normal(0, 1, (200, 12)) + truth[:, None]) * generator.uniform(0.1, 5, 12) + 3
    regression = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
    steps = [StandardScaler(), *([PCA(n_components, svd_solver="full")] if n_components else []), regression]
    expected = make_pipeline(*steps).fit(features, truth).predict_proba(features)
    head = fit_logistic(features, truth, n_classes, 0.1, n_components)
    found = head.logits(torch.from_numpy(features).float()).softmax(dim=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_a_class_without_slices_is_masked():
    generator = np.random.default_rng(0)
    truth = np.array([0, 2] * 20)
    head = fit_logistic(generator.normal(truth[:, None], 1, (40, 5)), truth, 4, 0.1)
    assert head.bias[[1, 3]].tolist() == [MASKED, MASKED]
    assert not head.weight[[1, 3]].any()


@pytest.mark.parametrize("height", [4, 5])
def test_halves_are_the_means_over_the_upper_and_the_lower_half(height: int):
    early = torch.randn(2, 3, height, 6)
    both = halves(early)
    assert both.shape == (2, 6, height, 6)
    np.testing.assert_allclose(both[:, :3, : height // 2].numpy(), 2 * early[:, :, : height // 2].numpy())
    assert not both[:, :3, height // 2 :].any()
    if height % 2 == 0:
        upper, lower = early[:, :, :2].mean(dim=(2, 3)), early[:, :, 2:].mean(dim=(2, 3))
        torch.testing.assert_close(both.mean(dim=(2, 3)), torch.cat([upper, lower], dim=1))


@pytest.mark.parametrize(("width", "pooling"), [(5, "mean"), (8, "log-mean-exp"), (6, "halves")])
@pytest.mark.parametrize("height", [4, 5])
def test_the_logits_of_locations_are_those_of_the_maps_that_a_head_reads(height: int, width: int, pooling: Pooling):
    maps = Maps(torch.randn(2, 3, height, 6), torch.randn(2, 5, 3, 3))
    head = Head(torch.randn(2, width), torch.randn(2), pooling)
    expected = torch.einsum("nkhw,ck->nchw", head.read(maps), head.weight) + head.bias[:, None, None]
    torch.testing.assert_close(head.local_logits(maps), expected)


def test_only_a_head_of_halves_reads_the_second_stage():
    maps = Maps(torch.randn(1, 3, 4, 4), torch.randn(1, 5, 2, 2))
    assert Head(torch.zeros(2, 5), torch.zeros(2)).read(maps) is maps.last
    assert Head(torch.zeros(2, 6), torch.zeros(2), "halves").read(maps).shape == (1, 6, 4, 4)
