"""A hub on the loopback address: repositories in memory, and the calls that huggingface_hub makes of one."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants

GOOD_TOKEN, OTHER_TOKEN = "hf_goodtokenforthetests", "hf_othertokenforthetests"
LARGE = (".safetensors", ".bin", ".pth")


@dataclass
class Repository:
    """Commits by hash, each a mapping from path to bytes; and the names of commits."""

    private: bool = False
    gated: bool = False
    commits: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)
    messages: list = field(default_factory=list)

    def commit(self, files, revision="main", message=""):
        """A new commit on a branch, or under a tag: all its files."""
        number = f"{len(self.commits)} {sorted((path, hashlib.sha1(data).hexdigest()) for path, data in files.items())}"
        oid = hashlib.sha1(number.encode()).hexdigest()
        self.commits[oid] = dict(files)
        self.names[revision] = oid
        self.messages.append(message)
        return oid

    def resolve(self, revision):
        return revision if revision in self.commits else self.names.get(revision)


@dataclass
class Hub:
    """What a hub has, and what was asked of it: log holds method, path and bytes sent."""

    endpoint: str = ""
    repositories: dict = field(default_factory=dict)
    large: dict = field(default_factory=dict)
    log: list = field(default_factory=list)
    ranges: list = field(default_factory=list)
    cut_after: int | None = None
    withheld: set = field(default_factory=set)

    def add(self, name, files, revision="main", **settings):
        repository = self.repositories.setdefault(name, Repository(**settings))
        return repository.commit(files, revision)

    def got(self):
        """Paths of the files that were sent, each once, in order."""
        files = [re.search(r"/resolve/[^/]+/(.*)", path) for method, path in self.log if method == "GET"]
        return sorted({unquote(match[1]) for match in files if match})


class RefusalError(Exception):
    def __init__(self, status, code="", message=""):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer("HEAD")

    def do_GET(self):
        self.answer("GET")

    def do_POST(self):
        self.answer("POST")

    def do_PUT(self):
        self.answer("PUT")

    def answer(self, method):
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.hub.log.append((method, parts.path))
        try:
            self.route(method, parts, body)
        except RefusalError as refusal:
            head = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            head = {name: value for name, value in head.items() if value}
            self.send(refusal.status, b"{}", head, body=method != "HEAD")

    def send(self, status, data=b"", head=None, *, body=True):
        self.send_response(status)
        head = {"Content-Length": len(data), **(head or {})}
        for name, value in head.items():
            self.send_header(name, str(value))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def json(self, content, status=200):
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    @property
    def token(self):
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def repository(self, name, *, content=False):
        """The repository, if whoever asks may see it; what is in it is for fewer."""
        if self.token not in ("", GOOD_TOKEN, OTHER_TOKEN):
            raise RefusalError(401, "", "Invalid credentials in Authorization header")
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.token != GOOD_TOKEN):
            raise RefusalError(404 if self.token else 401, "RepoNotFound")
        if content and repository.gated and self.token != GOOD_TOKEN:
            raise RefusalError(403 if self.token else 401, "GatedRepo")
        return repository

    def route(self, method, parts, body):
        path = parts.path
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self.info(match[1], unquote(match[2] or "main"))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            self.tree(match[1], unquote(match[2]))
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.file(match[1], unquote(match[2]), unquote(match[3]), method=method)
        elif method == "PUT" and path.startswith("/large/"):
            self.hub.large[path.removeprefix("/large/")] = body
            self.send(200)
        elif method == "POST":
            self.post(path, body)
        else:
            raise RefusalError(404)

    def commit_of(self, name, revision, *, content=False):
        repository = self.repository(name, content=content)
        oid = repository.resolve(revision)
        if oid is None:
            raise RefusalError(404, "RevisionNotFound")
        return oid, repository.commits[oid]

    def info(self, name, revision):
        oid, files = self.commit_of(name, revision)
        self.json({"id": name, "sha": oid, "siblings": [{"rfilename": path} for path in sorted(files)]})

    def tree(self, name, revision):
        _, files = self.commit_of(name, revision)
        entries = []
        for path, data in sorted(files.items()):
            entry = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            if path.endswith(LARGE):
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}
            entries.append(entry)
        self.json(entries)

    def file(self, name, revision, path, *, method):
        oid, files = self.commit_of(name, revision, content=True)
        if path not in files or path in self.hub.withheld:
            raise RefusalError(404, "EntryNotFound")
        data, etag = files[path], hashlib.sha1(files[path]).hexdigest()
        if path.endswith(LARGE):
            etag = hashlib.sha256(data).hexdigest()
        head = {"ETag": f'"{etag}"', "X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        status, part = 200, data
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked:
            start = int(asked[1])
            if method == "GET":
                self.hub.ranges.append((path, start))
            part, status = data[start:], 206
            head["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if method == "GET" and self.hub.cut_after is not None and path.endswith(LARGE):
            self.send(status, part[: self.hub.cut_after], head | {"Content-Length": len(part)})
            self.wfile.flush()
            self.close_connection = True
            self.hub.cut_after = None
            self.connection.shutdown(2)
            return
        self.send(status, part, head, body=method == "GET")

    def post(self, path, body):
        if path == "/api/validate-yaml":
            self.json({"errors": [], "warnings": []})
            return
        if self.token != GOOD_TOKEN:
            raise RefusalError(403 if self.token else 401, "", "Invalid username or password.")
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            there = name in self.hub.repositories
            if not there:
                private = asked.get("private") or asked.get("visibility") == "private"
                self.hub.repositories[name] = Repository(private=bool(private))
                self.hub.repositories[name].commit({".gitattributes": b""})
            self.json({"url": f"{self.hub.endpoint}/{name}", "name": name}, status=409 if there else 200)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", path):
            repository, branch = self.repository(match[1]), unquote(match[2])
            status = 409 if branch in repository.names else 200
            repository.names.setdefault(branch, repository.names["main"])
            self.json({}, status=status)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", path):
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = ["lfs" if file.endswith(LARGE) else "regular" for file in files]
            named = [
                {"path": file, "uploadMode": mode, "shouldIgnore": False, "oid": None}
                for file, mode in zip(files, modes, strict=True)
            ]
            self.json({"files": named})
        elif match := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.hub.endpoint}/large/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self.json({"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", path):
            self.take(match[1], unquote(match[2]), [json.loads(line) for line in body.splitlines()])
        else:
            raise RefusalError(404)

    def take(self, name, revision, lines):
        repository = self.repository(name)
        oid, files = self.commit_of(name, revision)
        (header,) = (line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit", oid) != oid:
            raise RefusalError(412, "", "A commit has happened since.")
        files = dict(files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
        new = repository.commit(files, revision, header["summary"])
        self.json({"commitUrl": f"{self.hub.endpoint}/{name}/commit/{new}", "commitOid": new, "success": True})


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Whoever asks may hang up."""


@contextmanager
def serving(monkeypatch, folder):
    """A hub that this process asks, with no token and an empty cache below a folder, in which it works."""
    hub = Hub()
    server = Server(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    settings = {
        "ENDPOINT": hub.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_TOKEN_PATH": str(folder / "token"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_PROGRESS_BARS": True,
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment(hub, folder):
    """The same for another process."""
    return {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_TOKEN_PATH": str(folder / "token"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
