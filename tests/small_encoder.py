"""The encoder of tests that need a model, not ResNet-50: a step takes milliseconds. No torch here."""

from sslmri.models.architecture import Architecture

SMALL_ENCODER = Architecture(widths=(8, 16, 32, 64), blocks=(1, 1, 1, 1))
