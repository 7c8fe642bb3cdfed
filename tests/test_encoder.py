"""The encoder against torchvision's ResNet-50."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from torchvision.models import resnet50

from sslmri.learning.encoder import Encoder, Maps, both_stages, normalise, pool, textures
from sslmri.models.architecture import Architecture
from sslmri.scans.slices import Preparation
from tests.small_encoder import SMALL_ENCODER


def reference_of(encoder: Encoder) -> nn.Module:
    """Returns torchvision's ResNet-50 with a one-channel stem, no classifier, and the encoder's weights."""
    is_dilated = encoder.architecture.output_stride == 16
    reference = resnet50(weights=None, replace_stride_with_dilation=[False, False, is_dilated])
    reference.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    reference.fc = nn.Identity()
    reference.load_state_dict(encoder.state_dict())
    return reference


def test_parameters_are_those_of_torchvision():
    ours = {name: tuple(value.shape) for name, value in Encoder().state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in resnet50(weights=None).state_dict().items()}
    assert theirs == ours | {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 2048), "fc.bias": (1000,)}


@pytest.mark.parametrize("output_stride", [32, 16])
def test_output_equals_torchvision_in_training_and_evaluation(output_stride):
    torch.manual_seed(0)
    encoder = Encoder(Architecture(output_stride=output_stride))
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    slices = torch.randn(3, 1, 64, 64)
    for mode in (True, False):
        reference = reference_of(encoder).train(mode)
        assert torch.allclose(encoder.train(mode)(slices), reference(slices), atol=1e-5)


def test_folded_batch_norms_change_no_map_and_leave_the_encoder_to_training():
    torch.manual_seed(0)
    encoder, slices = Encoder(SMALL_ENCODER).train(), torch.randn(4, 1, 64, 64)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    encoder(slices)  # so that the running statistics are no longer 0 and 1
    folded, names = encoder.folded(), list(encoder.state_dict())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert encoder.training
    assert list(encoder.state_dict()) == names
    for found, expected in zip(folded.maps(slices), encoder.eval().maps(slices), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("output_stride", [32, 16])
def test_features_are_the_average_of_the_feature_maps(output_stride):
    encoder = Encoder(Architecture(output_stride=output_stride)).eval()
    slices = torch.randn(2, 1, 128, 128)
    maps = encoder.maps(slices).last
    assert maps.shape == (2, encoder.architecture.feature_dim, 128 // output_stride, 128 // output_stride)
    assert torch.allclose(encoder(slices), pool(maps))


def test_textures_are_mean_and_deviation_of_the_second_stage_of_torchvision():
    torch.manual_seed(0)
    encoder = Encoder(Architecture(output_stride=16)).eval()
    slices, seen = torch.randn(2, 1, 64, 64), []
    reference = reference_of(encoder).eval()
    reference.layer2.register_forward_hook(lambda *found: seen.append(found[-1].detach().numpy()))
    reference(slices)
    found = textures(encoder.maps(slices).early).detach().numpy()
    assert found.shape == (2, encoder.architecture.texture_dim)
    expected = np.concatenate([seen[0].mean(axis=(2, 3)), seen[0].std(axis=(2, 3), ddof=1)], axis=1)
    assert np.allclose(found, expected, atol=1e-5)


def test_another_output_stride_keeps_the_weights_and_has_its_own_name():
    encoder = Encoder(SMALL_ENCODER)
    dilated = encoder.with_output_stride(16)
    assert all(torch.equal(value, encoder.state_dict()[name]) for name, value in dilated.state_dict().items())
    assert dilated.architecture == replace(SMALL_ENCODER, output_stride=16)


def test_names_and_dimensions_of_the_shipped_architectures():
    assert [Architecture(output_stride=stride).name for stride in (32, 16)] == ["resnet50-1ch", "resnet50-1ch-os16"]
    assert (Architecture().feature_dim, Architecture().texture_dim) == (2048, 1024)


def test_an_architecture_that_no_encoder_has_is_refused():
    with pytest.raises(ValueError, match="an encoder has four stages"):
        Architecture(widths=(8, 16, 32, 99999))


def test_normalised_slices_have_the_preparations_mean_and_deviation():
    slices = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1)
    low, high = normalise(slices, Preparation(mean=0.25, std=0.5)).flatten().tolist()
    assert (low, high) == (-0.5, 1.5)


def test_both_stages_are_read_at_the_locations_of_the_second():
    early, last = torch.randn(2, 3, 16, 8), torch.randn(2, 5, 8, 4)
    both = both_stages(Maps(early, last))
    assert torch.equal(both[:, :3], early)
    rows, columns = ((torch.arange(n) + 0.5) / 2 - 0.5 for n in (16, 8))
    grid = np.meshgrid(rows, columns, indexing="ij")
    expected = ndimage.map_coordinates(last[1, 4].numpy(), grid, order=1, mode="nearest")
    np.testing.assert_allclose(both[1, 7].numpy(), expected, atol=1e-5)
