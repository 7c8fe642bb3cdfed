"""The encoder against torchvision's ResNet-50."""

import torch
from torch import nn
from torchvision.models import resnet50

from sslmri.learning.encoder import FEATURE_DIM, Encoder, normalise, pool
from sslmri.scans.slices import Preparation


def reference_of(encoder: Encoder) -> nn.Module:
    """Returns torchvision's ResNet-50 with a one-channel stem, no classifier, and the encoder's weights."""
    reference = resnet50(weights=None)
    reference.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    reference.fc = nn.Identity()
    reference.load_state_dict(encoder.state_dict())
    return reference


def test_parameters_are_those_of_torchvision():
    encoder, reference = Encoder(), resnet50(weights=None)
    ours = sum(p.numel() for p in encoder.parameters())
    classifier = sum(p.numel() for p in reference.fc.parameters())
    two_channels_less = 2 * 64 * 7 * 7
    assert ours == sum(p.numel() for p in reference.parameters()) - classifier - two_channels_less


def test_output_equals_torchvision_in_training_and_evaluation():
    torch.manual_seed(0)
    encoder = Encoder()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    slices = torch.randn(3, 1, 64, 64)
    for mode in (True, False):
        reference = reference_of(encoder).train(mode)
        assert torch.allclose(encoder.train(mode)(slices), reference(slices), atol=1e-5)


def test_features_are_the_average_of_the_feature_maps():
    encoder = Encoder().eval()
    slices = torch.randn(2, 1, 128, 128)
    maps = encoder.feature_maps(slices)
    assert maps.shape == (2, FEATURE_DIM, 4, 4)
    assert torch.allclose(encoder(slices), pool(maps))


def test_normalised_slices_have_the_preparations_mean_and_spread():
    slices = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1)
    low, high = normalise(slices, Preparation(mean=0.25, std=0.5)).flatten().tolist()
    assert (low, high) == (-0.5, 1.5)
