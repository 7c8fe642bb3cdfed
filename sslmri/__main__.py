"""The command line: ``sslmri app | train | screen | embed | export | validate | manifest | audit | convert | ...``.

``app`` opens the dashboard; arguments after it, but for ``--diseases FILE``, go to ``streamlit run``. ``train`` runs
the commands of ``train.py``: ``sslmri train --help`` lists them. The others are described below.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from sslmri.diseases import SequenceChoice, load_diseases
from sslmri.files import neutralised, write_atomically
from sslmri.project import DEFAULT_MODEL, PROJECT, exit_code, run_app, run_train
from sslmri.text import printable_line

_Scans = Annotated[tuple[Path, ...], tyro.conf.Positional]
_Given = Annotated[Path, tyro.conf.Positional]
_Diseases = Annotated[
    Path | None,
    tyro.conf.arg(help="a TOML file of diseases of one's own, by default the one that SSLMRI_DISEASES names"),
]


def screen(
    paths: _Scans = (),
    model: Path = DEFAULT_MODEL,
    csv: Path | None = None,
    report: Path | None = None,
    overlays: Path | None = None,
    dicom_out: Path | None = None,
    sequence: SequenceChoice | None = None,
    dicomweb: str | None = None,
    study: str | None = None,
    store: bool = False,
) -> int:
    """Screen scans for every disease of the model: one JSON object per line, in the order given.

    The DICOM files of one series in one folder are one scan, and so is each MR series of a study in an archive. Exit
    code 0: every scan was screened; 2: some were refused, or have no DICOM results; 1: nothing could run.

    Args:
        paths: files, or folders whose files are taken in order of their names.
        model: the model folder.
        csv: also write the findings as a table, one row for each scan and disease.
        report: also write the findings as a PDF with the maps of the key slices, without names of files.
        overlays: also write each finding's map over its key slice, as PNG files into this folder.
        dicom_out: also write the results as DICOM objects, which name the patient as the scan does, into this folder.
        sequence: of all these scans, T1ce with contrast agent, in place of what their files state or their images show.
        dicomweb: in place of files, the address of an archive, such as http://127.0.0.1:8042/dicom-web.
        study: UID of the study there.
        store: also store the DICOM objects in that study.
    """
    from sslmri.errors import ScanError
    from sslmri.models.evidence import find_unseen_metrics
    from sslmri.scans.dicomweb import Archive
    from sslmri.scans.sandbox import unlimited_resources
    from sslmri.screening.batch import list_files, screen_files, screen_study, write_dicom, write_overlays
    from sslmri.screening.outcome import Entry, Refusal
    from sslmri.screening.report.dicom import require_highdicom
    from sslmri.screening.report.export import json_line, report_csv, report_pdf
    from sslmri.screening.report.images import key_images
    from sslmri.screening.screener import Screener

    if unlimited := unlimited_resources():
        print(f"This system does not limit the {', '.join(unlimited)} of the process that reads.", file=sys.stderr)
    if dicom_out or store:
        require_highdicom()
    archive = Archive(dicomweb) if dicomweb else None
    if bool(archive) != bool(study) or (archive and paths) or (store and not archive):
        raise ScanError("Expected files, or --dicomweb and --study together, which --store needs too.")
    files, screener = [] if archive else list_files(paths), Screener.load(model)
    card, metrics = screener.card, find_unseen_metrics(screener.card)
    entries: list[Entry] = []  # without the arrays of the screenings
    is_complete = True
    screened = screen_files(screener, files, sequence)
    if archive and study:
        screened = screen_study(screener, archive, study, sequence)
    for entry, arrays in screened:
        print(json_line(card, entry, metrics), flush=True)
        if overlays and arrays:
            write_overlays(overlays, card, entry, arrays)
        if (report or dicom_out or store) and arrays and not isinstance(entry.outcome, Refusal):
            entry = replace(entry, images=key_images(card, entry.outcome, arrays))
        into = archive if store else None
        if (dicom_out or into) and arrays and (reason := write_dicom(card, entry, arrays, metrics, dicom_out, into)):
            is_complete = False
            print(f"DICOM results of scan {entry.number} are missing. {reason}", file=sys.stderr)
        entries.append(entry)
    for path, make in ((csv, report_csv), (report, report_pdf)):
        if path:
            write_atomically(path, partial(Path.write_bytes, data=make(card, entries, metrics)))
    return 0 if is_complete and not any(isinstance(entry.outcome, Refusal) for entry in entries) else 2


def embed(paths: _Scans, out: Path, model: Path = DEFAULT_MODEL, diseases: _Diseases = None) -> int:
    """Write what the encoder sees in scans as a table, one row for each slice, for classifiers of one's own.

    Columns: scan, slice (its number in the file), group (of a manifest), sequence as recognised, is_brain_mri and
    assessed (the classifiers that accept the scan as acquired, whole heads not aligned), and features. Exit code 0:
    every scan was read; 2: some were refused; 1: nothing could run.

    Args:
        paths: files, folders, or manifests (.csv), whose rows name the files.
        out: a .parquet file, written in row groups, or an .npz file of the same columns.
        model: the model folder.
    """
    from sslmri.screening.embed import write_features
    from sslmri.screening.screener import Screener

    load_diseases(diseases)
    return 2 if write_features(Screener.load(model), paths, out) else 0


def export(onnx: Path, model: Path = DEFAULT_MODEL) -> int:
    """Write encoder and classifiers as one ONNX file, compared with torch; docs/reproduce.md says how to use it.

    Args:
        onnx: the file to write.
        model: the model folder.
    """
    from sslmri.learning.model import Model
    from sslmri.learning.onnx_file import write_onnx

    print(printable_line(f"{onnx}: differs from torch by at most {write_onnx(Model.load(model), onnx):.1e}"))
    return 0


def manifest(
    folder: _Given,
    cohort: str,
    out: Path | None = None,
    label: str | None = None,
    disease: str | None = None,
    map: tuple[str, ...] = (),
    diseases: _Diseases = None,
) -> int:
    """Turn a downloaded folder, or a BIDS dataset, into a manifest.

    Args:
        folder: the folder as it was downloaded.
        cohort: which public cohort it is, such as oasis, cheng or ixi_t1, of those in docs/data.md; bids; or the key of
            a disease of one's own, of which the folder has a folder for each class.
        out: where to write; by default ``manifest.csv`` inside the folder.
        label: of a BIDS dataset, the column of participants.tsv with the labels; without one no image has a label.
        disease: of these labels.
        map: the classes of values in that column that are not their names, CN=non_demented AD=mild_demented; with no
            class after the = there is no label.
    """
    from sslmri.cohorts.bids import LabelColumn, build_bids
    from sslmri.cohorts.manifest import check_names, write_manifest
    from sslmri.cohorts.public import build_manifest, list_checksum
    from sslmri.cohorts.registry import BIDS
    from sslmri.errors import ManifestError

    load_diseases(diseases)
    labels, left_out = LabelColumn.of(label, disease, map), list[str]()
    if cohort == BIDS:
        rows, left_out = build_bids(folder, labels)
    elif labels:
        raise ManifestError("Expected --label, --disease and --map with --cohort bids alone: leave them out.")
    else:
        rows = build_manifest(folder, cohort)
    checksum = list_checksum(rows["path"])
    out = out or folder / "manifest.csv"
    if out.parent.resolve() != folder.resolve():
        check_names([str(folder.resolve())])  # before pandas meets it
        rows["path"] = [str(folder.resolve() / name) for name in rows["path"]]
    write_manifest(out, rows)
    counts = f"{len(rows)} {'volumes' if cohort == BIDS else 'slices'}, {rows['group'].nunique()} groups"
    for line in (f"{out}: {counts}, file list {checksum}", *left_out):
        print(printable_line(line))
    return 0


def audit(
    manifest: _Given,
    csv: Path | None = None,
    cache: Path = Path(".cache"),
    split_seed: int = 0,
    diseases: _Diseases = None,
) -> int:
    """Look for leaks, label conflicts and weak points in a manifest: a table, one line for each check.

    Exit code 0: no leak and no label conflict; 3: one of them; 1: it could not run. Weak points are listed only.

    Args:
        manifest: the manifest.csv.
        csv: also write every finding as a table, one per row.
        cache: where prepared slices are kept.
        split_seed: of the 60/20/20 split by group, for manifests without folds.
    """
    from sslmri.cohorts.audit import audit, list_findings, tabulate
    from sslmri.cohorts.manifest import read_manifest
    from sslmri.cohorts.splits import assign_splits
    from sslmri.cohorts.store import open_store
    from sslmri.scans.slices import Preparation

    load_diseases(diseases)
    records = assign_splits(read_manifest(manifest, check_groups=False), split_seed, is_checked=False)
    store = open_store([record for record in records if record.split], Preparation(), cache)
    checks = audit(records, store)
    if csv:
        table = list_findings(checks).map(neutralised)
        write_atomically(csv, lambda path: table.to_csv(path, index=False, errors="backslashreplace"))
    grave = [check.name for check in checks if check.is_grave and check.count]
    print(tabulate(checks, grave))
    return 3 if grave else 0


def validate(
    manifest: _Given, model: Path = DEFAULT_MODEL, thresholds: Path | None = None, diseases: _Diseases = None
) -> int:
    """Measure a model on labelled scans of one's own, next to its results on patients that its training left out.

    Each row of the manifest is a file: an image, a volume, a zip of a series, or a DICOM file of one. Exit code 0:
    every scan was read; 2: some were refused; 1: it could not run.

    Args:
        manifest: the manifest.csv, with the columns path, cohort, disease, label and, where people have several scans,
            group.
        model: the model folder.
        thresholds: also choose thresholds for these scans and write them to this JSON file, which SSLMRI_THRESHOLDS
            then names for the dashboard and the command line.
    """
    from sslmri.cohorts.manifest import read_manifest
    from sslmri.diseases import DISEASES
    from sslmri.models.evidence import find_unseen_metrics
    from sslmri.models.site import write_site
    from sslmri.screening.screener import Screener
    from sslmri.screening.validate import choose_thresholds, labelled_records, measure, report, screen_labelled

    load_diseases(diseases)
    screener = Screener.load(model)
    records = read_manifest(manifest)
    scans = screen_labelled(screener, labelled_records(screener.card, records))
    labelled = {scan.record.disease for scan in scans}
    results = {key: measure(scans, disease) for key, disease in DISEASES.items() if key in labelled}
    print(report(results, find_unseen_metrics(screener.card)))
    if thresholds:
        chosen = {key: choose_thresholds(found, DISEASES[key]) for key, found in results.items()}
        write_site(thresholds, screener.card.sha256, chosen)
    return 2 if any(scan.finding is None for scan in scans) else 0


def convert(model: _Given) -> int:
    """Rewrite a model of the former format in that of this version; no weight changes, its stored results go.

    Args:
        model: the model folder.
    """
    from sslmri.models.convert import convert_model

    print(f"converted {convert_model(model)}: measure it again with `python train.py evaluate`")
    return 0


def model_card(model: _Given = DEFAULT_MODEL) -> int:
    """Print a model's card as Markdown: intended use, training data, results and limits.

    Args:
        model: the model folder.
    """
    from sslmri.models.evidence import GateTable, Metrics, find_evidence
    from sslmri.models.folder import read_model_card
    from sslmri.models.model_card import model_card_markdown

    card = read_model_card(model)
    print(model_card_markdown(card, find_evidence(card, Metrics), find_evidence(card, GateTable)), end="")
    return 0


def licences() -> int:
    """Print every package the program needs, with its version, licence and home page, as Markdown."""
    print((PROJECT / "LICENCES.md").read_text(encoding="utf-8"), end="")
    return 0


_COMMANDS = {
    command.__name__.replace("_", "-"): command
    for command in (screen, embed, export, validate, manifest, audit, convert, model_card, licences)
}


def main() -> int:
    """Runs the command and returns its exit code."""
    if sys.argv[1:2] == ["app"]:
        return run_app(sys.argv[2:])
    if sys.argv[1:2] == ["train"]:
        return run_train(sys.argv[2:])
    return exit_code(partial(tyro.extras.subcommand_cli_from_dict, _COMMANDS, prog="sslmri", description=__doc__))


if __name__ == "__main__":
    sys.exit(main())
