"""A T1 volume of a whole head, from its file to the finding of the aligned brain: a real server and browser."""

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import expect

from sslmri.project import DEFAULT_MODEL
from sslmri.scans.atlas.process import ALIGNING, EXTRACTING
from sslmri.screening.aligned import ALIGNED, CLASSIFYING
from sslmri.text import capital
from tests.harness.browser import CHROMIUM, LONG_MS, browse, open_page, serve
from tests.nifti_files import nifti
from tests.whole_head import SPACING_MM, whole_head

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}")
WATCH = """() => {
    window.seen = "";
    new MutationObserver(() => { window.seen += document.body.innerText; })
        .observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


def test_a_whole_head_is_extracted_aligned_and_answered() -> None:
    data = nifti(whole_head(), kind="<f4", spacing=SPACING_MM)
    with serve(DEFAULT_MODEL) as address, browse() as browser:
        page = open_page(browser, address)
        page.evaluate(WATCH)
        page.locator("input[type=file]").set_input_files(
            {"name": "head.nii", "mimeType": "application/octet-stream", "buffer": data}
        )
        expect(page.get_by_text("Ventricles:").first).to_be_visible(timeout=LONG_MS)
        seen = page.evaluate("window.seen")
        steps = [seen.find(capital(step)) for step in (EXTRACTING, ALIGNING, CLASSIFYING)]
        assert -1 not in steps
        assert steps == sorted(steps)
        assert ALIGNED.split(".")[0] in page.inner_text("body")
