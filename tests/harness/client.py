"""A visitor of the dashboard without a browser: speaks Streamlit's own protocol and keeps all that the server sends."""

import io
import json
import re
import struct
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import requests
from PIL import Image
from requests.adapters import HTTPAdapter
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from urllib3.util import Retry
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

WAIT_S = 300.0
# a connection that the server closes for want of use while it is taken up again: asked once more, on a new one
_AS_BROWSERS = Retry(total=1, allowed_methods=None, status=0, redirect=0)
_MEDIA = re.compile(rb"/media/[0-9a-f]+\.[a-z0-9]+")


class Visitor:
    """One session at the server.

    Attributes:
        received: every message of the server, as it came.
        elements: what the page shows now, by place.
        fetched: content of every image and download this session was shown, by address.
        session_id: as the server calls it.
    """

    def __init__(self, address: str) -> None:
        """Opens a session; ``visit`` is the usual way."""
        self._address = address
        self._http = requests.Session()
        self._http.mount("http://", HTTPAdapter(max_retries=_AS_BROWSERS))
        self._http.get(f"{address}/_stcore/health", timeout=WAIT_S)
        token = str(self._http.cookies["_streamlit_xsrf"])
        self._http.headers["X-Xsrftoken"] = token
        cookies = "; ".join(f"{name}={value}" for name, value in self._http.cookies.items())
        self._socket: ClientConnection = connect(
            f"{address.replace('http', 'ws', 1)}/_stcore/stream",
            subprotocols=[Subprotocol("streamlit"), Subprotocol(token)],
            origin=Origin(address),
            legacy=True,
            additional_headers={"Cookie": cookies},
            max_size=None,
            open_timeout=WAIT_S,
        )
        self.received: list[bytes] = []
        self.elements: dict[tuple[int, ...], Element] = {}
        self.fetched: dict[str, bytes] = {}
        self.session_id = ""
        self._states: dict[str, WidgetState] = {}
        self._page = ""

    def close(self) -> None:
        """Leaves, as a closed tab does."""
        self._socket.close()
        self._http.close()

    def open(self, page: str = "") -> None:
        """Opens a page by its address' last part, and waits until it is drawn."""
        self._page = page
        self._rerun()

    def upload(self, *files: tuple[str, bytes]) -> None:
        """Gives files to the page's uploader, in place of those it had, and waits until the page is drawn."""
        self.begin_upload(*files)
        self.wait()

    def begin_upload(self, *files: tuple[str, bytes]) -> None:
        """Gives files to the page's uploader and does not wait for what the page makes of them."""
        uploader = self.find("file_uploader")
        asked = BackMsg()
        asked.file_urls_request.request_id = uuid.uuid4().hex
        asked.file_urls_request.session_id = self.session_id
        asked.file_urls_request.file_names.extend(name for name, _ in files)
        self._send(asked)
        urls = self._receive_until("file_urls_response").file_urls_response.file_urls
        state = WidgetState(id=uploader.id)
        state.file_uploader_state_value.SetInParent()
        for (name, data), url in zip(files, urls, strict=True):
            answer = self._http.put(
                self._address + url.upload_url, files={"file": (name, data, "application/octet-stream")}, timeout=WAIT_S
            )
            answer.raise_for_status()
            known = state.file_uploader_state_value.uploaded_file_info.add(
                name=name, size=len(data), file_id=url.file_id
            )
            known.file_urls.CopyFrom(url)
        self._states[uploader.id] = state
        self._request()

    def press(self, label: str) -> None:
        """Presses the button of that label and waits until the page is drawn."""
        button = next(
            e.button for e in self.elements.values() if e.WhichOneof("type") == "button" and e.button.label == label
        )
        self._states[button.id] = WidgetState(id=button.id, trigger_value=True)
        self._rerun()
        del self._states[button.id]

    def set(self, label: str, **value: object) -> None:
        """Sets the widget of that label, such as ``double_array_value``, and waits until the page is drawn."""
        widget = next(found for found in self._widgets() if getattr(found, "label", "") == label)
        state = WidgetState(id=widget.id)  # type: ignore[attr-defined]
        for name, given in value.items():
            if isinstance(given, Sequence) and not isinstance(given, str):
                getattr(state, name).data.extend(given)
            else:
                setattr(state, name, given)
        self._states[state.id] = state
        self._rerun()

    def download(self, label: str) -> bytes:
        """Returns the file behind the download button of that label."""
        return self.redeem(self.deferred(label))

    def deferred(self, label: str) -> str:
        """Returns the name under which the server makes the file behind a download button when it is asked."""
        found = [e.download_button for e in self.elements.values() if e.WhichOneof("type") == "download_button"]
        for button in found:
            if button.label == label:
                return button.deferred_file_id
        raise LookupError(f"no button {label} on the page: {self.words()[-200:]}")

    def redeem(self, file_id: str) -> bytes:
        """Returns the file that the server makes for such a name."""
        asked = BackMsg()
        asked.backend_operation_request.request_id = uuid.uuid4().hex
        asked.backend_operation_request.session_id = self.session_id
        asked.backend_operation_request.deferred_file.file_id = file_id
        self._send(asked)
        answer = self._receive_until("backend_operation_response").backend_operation_response
        if not answer.deferred_file.url:
            raise PermissionError(answer.error_msg)
        return self.fetch(answer.deferred_file.url)

    def fetch(self, path: str) -> bytes:
        """Returns what lies at a path of the server."""
        if path not in self.fetched:
            answer = self._http.get(self._address + path, timeout=WAIT_S)
            answer.raise_for_status()
            self.fetched[path] = answer.content
        return self.fetched[path]

    def pictures(self) -> dict[str, bytes]:
        """Returns every image that the page shows now, by address, without those of its viewer."""
        shown = {path.decode() for e in self.elements.values() for path in _MEDIA.findall(e.SerializeToString())}
        return {path: self.fetch(path) for path in sorted(shown)}

    def slices(self) -> dict[str, bytes]:
        """Returns each analysed slice in the viewer of the page as a PNG file, by number; empty without a scan."""
        viewers = [e.bidi_component for e in self.elements.values() if e.WhichOneof("type") == "bidi_component"]
        return _slices_of(viewers[0].bytes) if viewers else {}

    def find(self, kind: str) -> Any:
        """Returns the first element of a kind that the page shows."""
        return next(getattr(e, kind) for e in self.elements.values() if e.WhichOneof("type") == kind)

    def words(self) -> str:
        """Returns the texts that the page shows."""
        texts = []
        for element in self.elements.values():
            body = getattr(element, str(element.WhichOneof("type")))
            texts += [str(getattr(body, name)) for name in ("body", "text", "label", "caption") if hasattr(body, name)]
        return "\n".join(texts)

    def wait(self) -> None:
        """Waits until the page is drawn."""
        while self._receive_until("script_finished").script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            pass

    def _widgets(self) -> Iterator[object]:
        for element in self.elements.values():
            yield getattr(element, str(element.WhichOneof("type")))

    def _rerun(self) -> None:
        self._request()
        self.wait()

    def _request(self) -> None:
        asked = BackMsg()
        asked.rerun_script.widget_states.widgets.extend(self._states.values())
        asked.rerun_script.page_name = self._page
        self._send(asked)

    def _send(self, message: BackMsg) -> None:
        self._socket.send(message.SerializeToString())

    def _receive_until(self, kind: str) -> ForwardMsg:
        deadline = time.monotonic() + WAIT_S
        while (left := deadline - time.monotonic()) > 0:
            data = self._socket.recv(timeout=left)
            assert isinstance(data, bytes)
            self.received.append(data)
            message = ForwardMsg.FromString(data)
            self._take(message)
            if message.WhichOneof("type") == kind:
                return message
        raise TimeoutError(f"Expected {kind} within {WAIT_S:g} s, got other messages only.")

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.session_id = message.new_session.initialize.session_id or self.session_id
            self.elements.clear()
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self.elements[tuple(message.metadata.delta_path)] = message.delta.new_element


def _slices_of(payload: bytes) -> dict[str, bytes]:
    """Returns the analysed slices that the viewer was sent, as PNG files; see ``dashboard.screening.payload``."""
    (length,) = struct.unpack_from("<I", payload)
    header, start = json.loads(payload[4 : 4 + length]), 4 + length
    for name, size in header["parts"]:
        if name == "voxels":
            voxels = np.frombuffer(payload, np.uint8, size, start).reshape(header["planes"][0]["shape"])
        start += size
    found = {}
    for number in header["analysed"]:
        file = io.BytesIO()
        Image.fromarray(voxels[number - 1]).save(file, "PNG")
        found[f"slice {number}"] = file.getvalue()
    return found


@contextmanager
def visit(address: str, page: str = "") -> Iterator[Visitor]:
    """Opens a session at a page of the server; it ends with the block."""
    visitor = Visitor(address)
    try:
        visitor.open(page)
        yield visitor
    finally:
        visitor.close()
