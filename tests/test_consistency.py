"""The consistency loss: slices and their perturbed copies, augmented with one resampling, compared by features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from sslmri.cohorts.manifest import read_manifest
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.store import Store, open_store
from sslmri.learning.consistency import HARMLESS, consistency_loss
from sslmri.learning.encoder import Encoder
from sslmri.learning.finetune import MultiHead, _loss, _start
from sslmri.learning.settings import AugmentSettings, FinetuneSettings
from sslmri.learning.views import augment, compose, draw_augmentation
from sslmri.scans.slices import Preparation
from tests.small_encoder import SMALL_ENCODER

SMALL = Preparation(image_size=(32, 32))
SETTINGS = FinetuneSettings(precision="float32", augmentation=AugmentSettings(max_blur=0.5))


@pytest.fixture(scope="module")
def train(cohort, tmp_path_factory) -> Store:
    records = [record for record in assign_splits(read_manifest(cohort)) if record.disease == "ms"]
    return open_store(records, SMALL, tmp_path_factory.mktemp("store")).where(split="train")


def seeded() -> Generator:
    return Generator().manual_seed(0)


def blobs(n: int = 4) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    return torch.exp(-4 * ((rows - 0.2) ** 2 + 2 * (columns + 0.1) ** 2)).expand(n, 1, 64, 64).contiguous()


def test_composed_parameters_are_both_changes_in_turn():
    settings = AugmentSettings(max_shift=0.03, brightness=0.1, contrast=0.0)
    first, then = (draw_augmentation(4, settings, Generator().manual_seed(seed)) for seed in (0, 1))
    at_once, in_turn = augment(blobs(), compose(first, then)), augment(augment(blobs(), first), then)
    assert (at_once - in_turn).abs().mean() < 0.002
    assert (at_once - augment(blobs(), first)).abs().mean() > 0.02


def test_the_loss_is_that_of_numpy_and_blind_to_scale():
    features = torch.randn(12, 7, generator=Generator().manual_seed(0))
    loss = consistency_loss(features).item()
    slices, perturbed = features[:6].numpy(), features[6:].numpy()
    assert np.isclose(loss, np.mean((slices - perturbed) ** 2) / np.mean(np.var(features.numpy(), axis=0, ddof=1)))
    assert np.isclose(loss, consistency_loss(100 * features).item())
    assert consistency_loss(torch.cat([features, features])).item() == 0


def test_fine_tuning_adds_the_consistency_loss_times_its_weight(train):
    torch.manual_seed(0)
    model = MultiHead(Encoder(SMALL_ENCODER), ["ms"]).eval()
    batch = train.select(range(6))
    losses = {
        weight: _loss(_start(model, train, SMALL, replace(SETTINGS, consistency_weight=weight)), batch, seeded()).item()
        for weight in (1.0, 3.0)
    }
    generator = seeded()
    first = draw_augmentation(6, SETTINGS.augmentation, generator)
    slices = torch.from_numpy(batch.slices).unsqueeze(1).float() / 255
    both = compose(first, draw_augmentation(6, HARMLESS, generator))
    images = [augment(slices, parameters) for parameters in (first, both)]
    with torch.inference_mode():
        features = model.encoder((torch.cat(images) - SMALL.mean) / SMALL.std)
    assert losses[3.0] - losses[1.0] == pytest.approx(2 * consistency_loss(features).item(), rel=1e-3)
    assert losses[1.0] > 0.01
