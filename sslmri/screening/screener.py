"""Screening: a scan in, one careful finding for each disease out. The app, the command line and notebooks call this."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslmri.diseases import DISEASES, Notice, SequenceChoice
from sslmri.errors import ScanError
from sslmri.evidence.verdict import Verdict, decisions_for, pool_slices, prediction_set, reconciled, verdicts
from sslmri.gate.decide import decide_brain_mri, decide_in_distribution
from sslmri.learning.encoder import pool, textures
from sslmri.learning.model import BATCH, Model
from sslmri.models.bank import EncoderFeatures, FeatureBank
from sslmri.models.cards import ModelCard
from sslmri.models.folder import read_unreplaced
from sslmri.models.history import created_now
from sslmri.models.site import SiteThresholds, read_site
from sslmri.scans.atlas import align
from sslmri.scans.prepare import prepare_aligned
from sslmri.scans.scan import SEQUENCES, Scan
from sslmri.scans.slices import PreparedScan, head_mask, prepare_scan
from sslmri.scans.volume import AXIAL
from sslmri.screening.aligned import (
    CLASSIFYING,
    is_whole,
    notice_of,
    recognised,
    to_align,
    with_aligned,
    without_aligned,
)
from sslmri.screening.maps import measure_map
from sslmri.screening.messages import PLANES, left_out, one_sided, untrained_notices
from sslmri.screening.outcome import Finding, Screening, ScreeningArrays, ScreeningSummary
from sslmri.screening.saliency import Explainer, class_maps
from sslmri.screening.sequences import with_sequence
from sslmri.text import in_order

_Arrays = dict[str, np.ndarray]  # by disease
UNGATED = "This model cannot check whether the scan is a brain MRI that resembles its training data."


class Screener:
    """A loaded model that screens scans; safe to share between threads."""

    def __init__(
        self, model: Model, bank: FeatureBank | None = None, site: Mapping[str, SiteThresholds] | None = None
    ) -> None:
        """Takes a loaded model, its feature bank and a site's thresholds; ``Screener.load`` is the usual way."""
        self._model = model
        self._bank = bank
        self._site = site or {}

    @classmethod
    def load(cls, folder: Path) -> "Screener":
        """Returns a screener with the model of a folder and the thresholds of this site, see ``read_site``.

        Raises:
            ModelError: the folder holds no model that can be trusted, or the thresholds cannot be used.
        """
        model, bank = read_unreplaced(Path(folder), _read)
        return cls(model, bank, read_site(model.card.sha256))

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self._model.card

    @property
    def bank(self) -> FeatureBank | None:
        """The model's feature bank; without one every classifier answers every scan, and a warning says so."""
        return self._bank

    def screen(self, scan: Scan, report: Callable[[str], object] = lambda step: None) -> Screening:
        """Returns the findings of one scan; ``report`` is called with the name of each step that takes seconds.

        Raises:
            ScanError: the scan shows nothing.
        """
        screening = self.screen_slices([prepare_scan(scan, self.card.encoder.preparation)])[0]
        return self.align(screening, lambda: scan, report=report)

    def align(
        self,
        screening: Screening,
        read: Callable[[], Scan],
        choice: SequenceChoice | None = None,
        report: Callable[[str], object] = lambda step: None,
    ) -> Screening:
        """Returns a screening with the findings of classifiers that learned from aligned brains, where it needs them.

        Only then is the scan read. The choice is the reader's, which sequence it is.
        """
        diseases = [key for key in to_align(screening, choice) if one_sided(self.card.heads[key]) is None]
        is_unrecognised = bool(screening.unrestricted.reason) and is_whole(screening.unrestricted)
        if not diseases and not is_unrecognised:
            return with_sequence(screening, choice)
        try:
            brain = align(read(), report)
        except ScanError as error:
            return with_sequence(without_aligned(screening, diseases, error.reason), choice)
        if is_unrecognised:
            return with_sequence(recognised(screening) if brain.is_t1 else screening, choice)
        report(CLASSIFYING)
        notices = {key: notice_of(self.card, key) for key in diseases}
        aligned = self.screen_slices([prepare_aligned(brain.scan, self.card.encoder.preparation)])[0]
        return with_sequence(with_aligned(screening, aligned, brain, notices), choice)

    @torch.inference_mode()
    def screen_slices(self, prepared: Sequence[PreparedScan]) -> list[Screening]:
        """Returns the screening of each prepared scan, its slices as they were acquired.

        All slices go through the encoder in one pass.
        """
        slices = np.concatenate([scan.slices for scan in prepared])
        early, features, sequences, logits, maps = self._forward(slices)
        screenings, start = [], 0
        for scan in prepared:
            rows = slice(start, start + len(scan.slices))
            start += len(scan.slices)
            seen = EncoderFeatures(early[rows].numpy(), features[rows].numpy())
            own_logits, own_maps = ({key: values[rows] for key, values in each.items()} for each in (logits, maps))
            sequence_seen = None if sequences is None else _means(sequences[rows])
            screenings.append(self._summarise(scan, seen, own_logits, own_maps, sequence_seen))
        return screenings

    def _summarise(
        self,
        scan: PreparedScan,
        seen: EncoderFeatures,
        logits: _Arrays,
        maps: _Arrays,
        sequences: dict[str, float] | None,
    ) -> Screening:
        info, slices, numbers = scan.info, scan.slices, scan.slice_numbers
        not_brain = decide_brain_mri(self._bank, seen.textures).reason if self._bank else None
        reasons = self._reasons(seen, not_brain, info.orientation)
        probabilities = {
            key: decisions_for(card, 1).probabilities(logits[key].astype(np.float64))
            for key, card in self.card.heads.items()
        }
        region = cache(lambda index: head_mask(slices[index]))  # the same for every disease
        findings = {
            key: self._find(key, logits[key], probabilities[key], maps[key], scan, region, reasons[key])
            for key in in_order(self.card.heads)
        }
        warnings = (
            *(Notice(None, text) for text in info.warnings),
            *(() if self._bank else (Notice(None, UNGATED),)),
            *left_out(numbers, info.n_slices),
            *(untrained_notices(self.card) if not_brain is None else ()),
        )
        summary = ScreeningSummary(
            sha256=info.sha256,
            model_sha256=self.card.sha256,
            created=created_now(),
            slice_numbers=numbers,
            n_file_slices=info.n_slices,
            spacing_mm=info.spacing_mm,
            orientation=info.orientation,
            modality=info.modality,
            source=info.source,
            sequence=info.sequence,
            sequence_from="dicom" if info.sequence else None,
            is_brain_mri=not_brain is None if self._bank else None,
            reason=not_brain,
            findings=findings,
            warnings=warnings,
            sequence_seen=None if not_brain else sequences,
        )
        arrays = ScreeningArrays(slices, seen.features, maps, probabilities)
        return with_sequence(Screening(summary, arrays, unrestricted=summary))

    def _find(
        self,
        key: str,
        logits: np.ndarray,
        by_slice: np.ndarray,
        maps: np.ndarray,
        scan: PreparedScan,
        region: Callable[[int], np.ndarray],
        reason: str | None,
    ) -> Finding:
        """Returns the finding of a classifier from its S slices: logits and probabilities (S, C), maps (S, C, h, w)."""
        card, site = self.card.heads[key], self._site.get(key)
        decisions = decisions_for(card, len(logits))
        if site and site.is_volume == (len(logits) > 1):
            decisions = replace(decisions, threshold_low=site.threshold_low, threshold_high=site.threshold_high)
        else:
            site = None
        (answer,) = decisions.probabilities(pool_slices(logits.astype(np.float64), card.pooling)[None])
        top = int(answer.argmax())
        index = int(by_slice[:, top].argmax())
        (verdict,) = verdicts(answer[None], decisions)
        members = prediction_set(answer, {label: decisions.set_thresholds[label] for label in card.classes})
        return Finding(
            disease=key,
            verdict=Verdict.NOT_ASSESSED if reason else reconciled(verdict, members, card.classes[0]),
            reason=reason,
            flagged_from=decisions.threshold_high,
            not_flagged_below=decisions.threshold_low,
            probabilities={label: float(value) for label, value in zip(card.classes, answer, strict=True)},
            prediction_set=members,
            key_slice=scan.slice_numbers[index],
            site_patients=None if site is None else site.n_disease + site.n_reference,
            **measure_map(maps[index, top], region(index), scan.box, card.saliency_scale),
        )

    def _reasons(self, seen: EncoderFeatures, not_brain: str | None, orientation: str | None) -> dict[str, str | None]:
        """Returns by disease why its classifier is not assessed, None without a reason."""
        if not_brain:
            return dict.fromkeys(self.card.heads, not_brain)
        reasons = {key: one_sided(card) for key, card in self.card.heads.items()}
        if self._bank is None:
            return reasons
        plane = f" This slice is {PLANES[orientation]}." if orientation in PLANES else ""
        for key in [key for key, reason in reasons.items() if reason is None]:
            if reason := decide_in_distribution(self._bank, seen.features, key).reason:
                is_other = orientation != AXIAL and "axial" in DISEASES[key].sequences
                reasons[key] = reason + plane * is_other
        return reasons

    def explain(self, slice_: np.ndarray, disease: str, label: str, method: str) -> np.ndarray:
        """Returns another method's map of a class for a prepared slice (H, W): (H, W) float32 in [0, 1].

        Raises:
            ModelError: no such method.
        """
        return self._explainer.explain(slice_, disease, self.card.heads[disease].classes.index(label), method)

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self._model)

    def _forward(self, slices: np.ndarray) -> tuple[Tensor, Tensor, Tensor | None, _Arrays, _Arrays]:
        """Returns what one pass of the encoder gives.

        In turn: textures (N, T), features (N, D), probabilities of the sequences (N, 4), None without a head for them,
        each head's logits (N, C) and its maps (N, C, h, w).
        """
        early: list[Tensor] = []
        features: list[Tensor] = []
        sequences: list[Tensor] = []
        logits: dict[str, list[Tensor]] = {key: [] for key in self._model.heads}
        maps: dict[str, list[Tensor]] = {key: [] for key in self._model.heads}
        for start in range(0, len(slices), BATCH):
            batch = self._model.maps(slices[start : start + BATCH])
            early.append(textures(batch.early))
            features.append(pool(batch.last))
            if self._model.sequence:
                sequences.append(self._model.sequence(batch.early).softmax(dim=1))
            for key, head in self._model.heads.items():
                local = head.local_logits(batch)
                logits[key].append(head.slice_logits(local))
                maps[key].append(class_maps(local, head))

        def joined(parts: dict[str, list[Tensor]]) -> _Arrays:
            return {key: torch.cat(values).numpy() for key, values in parts.items()}

        return (
            torch.cat(early),
            torch.cat(features),
            torch.cat(sequences) if sequences else None,
            joined(logits),
            joined(maps),
        )


def _means(probabilities: Tensor) -> dict[str, float]:
    """Returns the mean probability over slices of each sequence: (S, 4)."""
    return dict(zip(SEQUENCES, probabilities.mean(dim=0).tolist(), strict=True))


def _read(folder: Path) -> tuple[Model, FeatureBank | None]:
    model = Model.load(folder)
    return replace(model, encoder=model.encoder.folded()), FeatureBank.of(model.card)
