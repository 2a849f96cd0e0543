"""A server on the loopback address that sends files, or ranges of them, and counts what was asked for."""

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Site:
    """files by path; sent has (path, bytes) of every answer. The others are what goes wrong, and how often."""

    files: dict = field(default_factory=dict)
    url: str = ""
    sent: list = field(default_factory=list)
    refusals: int = 0
    refused: int = 0
    short: int = 0
    ranges: bool = True
    asked: list = field(default_factory=list)

    def bytes_of(self, ending):
        return sum(count for path, count in self.sent if path.endswith(ending))


def _handler(site):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def _answer(self, status, body=b"", headers=None):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = unquote(urlsplit(self.path).path).lstrip("/")
            site.asked.append(self.path)
            if path.endswith("/") and any(name.startswith(path) for name in site.files):
                names = sorted({name[len(path) :].partition("/")[0] for name in site.files if name.startswith(path)})
                page = "".join(f'<a href="{name}">{name}</a>\n' for name in names).encode()
                return self._answer(200, page, {"Content-Type": "text/html"})
            if path not in site.files:
                return self._answer(404)
            data, headers = site.files[path], {"ETag": f'"{hash(site.files[path])}"'}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if self.command == "GET" and wanted and site.refusals:
                site.refusals -= 1
                site.refused += 1
                return self._answer(503)
            status = 200
            if wanted and site.ranges and self.command == "GET":
                start, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
                headers["Content-Range"] = f"bytes {start}-{last}/{len(data)}"
                data, status = data[start : last + 1], 206
                if site.short and len(data) > 8:
                    site.short -= 1
                    data = data[:-3]
            if self.command == "GET":
                site.sent.append((path, len(data)))
            return self._answer(status, data, headers)

    return Handler


@contextmanager
def serving(files=None):
    """A site while it is served."""
    site = Site(dict(files or {}))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
