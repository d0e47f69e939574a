"""`bchisto encoder --fetch` against a hub on this machine that speaks the real one's protocol."""

import hashlib
import http.server
import importlib.util
import json
import os
import re
import threading

import pytest
from bchisto.core import WeightsError
from bchisto.encoders import EncoderChoice, fetch_encoder, open_encoder, source_sha256, weights_of
from conftest import need, typed
from refusals import refusing
from written_tables import read_json

NAME, REPOSITORY, COMMIT, OTHER = (
    "dinov2-small",
    "facebook/dinov2-small",
    "0123456789abcdef" * 2 + "01234567",
    "f" * 40,
)


@pytest.fixture(autouse=True)
def library():
    need(
        "torch",
        importlib.util.find_spec("huggingface_hub") is not None,
        "pip install 'bchisto[torch]'",
    )


class Hub(http.server.ThreadingHTTPServer):
    """A hub with one repository; what it does wrong is set by the tests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = {
            "config.json": b'{"auto_map": {"A": "x"}}',
            "model.safetensors": bytes(range(256)) * 60_000,
        }
        self.published, self.size, self.name = dict(self.files), int, None
        self.refusal, self.cuts, self.ranges, self.repository = "", [], [], REPOSITORY
        self.commits, self.large, self.licence = (
            {"main": COMMIT, COMMIT: COMMIT, "v2": OTHER},
            True,
            "apache-2.0",
        )
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def tree(self, revision):
        siblings = []
        for name, content in self.published.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            file = {"rfilename": self.name or name, "size": self.size(len(content)), "blobId": blob}
            if name.endswith(".safetensors") and self.large:
                file["lfs"] = {
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                    "pointerSize": 134,
                }
            siblings.append(file)
        return {
            "id": self.repository,
            "modelId": self.repository,
            "sha": self.commits[revision],
            "siblings": siblings,
            "tags": [],
            "cardData": {"license": self.licence},
        }


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET()

    def refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        path = self.path.partition("?")[0]
        if self.server.repository not in path:
            return self.refuse(404, "RepoNotFound")
        if path.startswith("/api/models/"):
            revision = path.partition("/revision/")[2] or "main"
            if revision not in self.server.commits:
                return self.refuse(404, "RevisionNotFound")
            return self.give(
                json.dumps(self.server.tree(revision)).encode(),
                {"Content-Type": "application/json"},
            )
        if self.server.refusal:
            return self.refuse(403, self.server.refusal)
        name = path.rpartition("/")[2]
        if name not in self.server.files:
            return self.refuse(404, "EntryNotFound")
        etag = hashlib.sha256(self.server.published[name]).hexdigest()
        known = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        return self.give(self.server.files[name], known)

    def give(self, content, headers):
        wanted = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        if wanted:
            self.server.ranges.append(start)
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if wanted else 200)
        for name, value in {**headers, "Content-Length": len(content) - start}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "HEAD":
            return
        end = (
            self.server.cuts.pop(0) if len(content) > 10_000 and self.server.cuts else len(content)
        )
        self.wfile.write(content[start : max(end, start)])
        self.close_connection = end < len(content)


@pytest.fixture
def hub():
    with Hub() as server:
        yield server
        server.shutdown()


@pytest.fixture
def fetch(hub, tmp_path, start):
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(tmp_path / "hf"),
        "BCHISTO_ENCODERS": str(tmp_path / "encoders"),
        "HF_HUB_DISABLE_XET": "1",
    }

    def run(*options, name=NAME, **more):
        process = start("encoder {} --fetch", name, *options, env={**environment, **more})
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        return process.returncode, out, err

    return run


def test_it_is_fetched_once_and_then_found_without_a_network(hub, fetch, tmp_path, monkeypatch):
    monkeypatch.setenv("BCHISTO_ENCODERS", str(tmp_path / "encoders"))
    options = ([], ["random"], [f"{NAME}=other"])
    assert [weights_of(given, NAME) for given in options] == ["imagenet", "random", "other"]
    code, _, err = fetch("--yes")
    assert code == 0, err
    for text in (f"commit {COMMIT}", "Apache-2.0", f"{NAME}: fetching model.safetensors, 15.4 MB"):
        assert text in err
    folder = tmp_path / "encoders" / NAME
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    record = read_json(folder / "fetched.json")
    assert (
        record["files"]["model.safetensors"]
        == hashlib.sha256(hub.files["model.safetensors"]).hexdigest()
    )
    assert [weights_of(given, NAME) for given in options] == [str(folder), "random", "other"]
    hub.shutdown()
    code, _, err = fetch(HF_ENDPOINT="http://127.0.0.1:9")
    assert (code, err) == (0, f"{NAME} is in {folder}\nnext: bchisto encoder {NAME} --check\n")


def test_nobody_agrees(hub, fetch, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
    monkeypatch.setenv("BCHISTO_ENCODERS", str(tmp_path / "encoders"))
    code, _, err = fetch()
    assert code == 2
    assert "add --yes" in err
    asked = []
    with refusing("dinov2-small: not fetched, since you did not agree", WeightsError):
        fetch_encoder(NAME, agrees=asked.append)
    assert asked == [
        f"DINOv2 small (natural images): Apache-2.0; 2 files, 15.4 MB, commit {COMMIT}"
    ]
    assert not (tmp_path / "encoders").exists()


def test_a_cut_connection_is_gone_on_with(hub, fetch):
    hub.cuts = [14_000_000]
    assert fetch("--yes")[0] == 0
    assert hub.ranges == [10 << 20]  # the library keeps whole blocks, and asks for the rest only


def test_a_connection_that_is_cut_again_and_again(hub, fetch, tmp_path):
    hub.cuts = [1000] * 20
    code, _, err = fetch("--yes")
    assert code == 2, err
    assert "cannot be fetched into" in err, err
    assert "Trying to resume" not in err, err
    assert not (tmp_path / "encoders" / NAME / "fetched.json").exists()
    hub.cuts.clear()
    assert fetch("--yes")[0] == 0


@pytest.mark.parametrize(
    ("file", "large"),
    [("model.safetensors", True), ("model.safetensors", False), ("config.json", True)],
)
def test_another_file_than_was_published(hub, fetch, tmp_path, file, large):
    """Also one of which the hub publishes no SHA-256, but what Git calls it."""
    hub.large = large
    hub.files[file] = hub.files[file][::-1]
    code, _, err = fetch("--yes")
    assert code == 2, err
    assert "it was removed, fetch it again" in err, err
    assert not (tmp_path / "encoders" / NAME / file).exists()
    assert not (tmp_path / "encoders" / NAME / "fetched.json").exists()
    hub.files[file] = hub.published[file]
    assert fetch("--yes")[0] == 0


def test_another_commit_is_never_taken_for_the_one_that_is_asked_for(hub, fetch, tmp_path):
    assert fetch("--yes", "--revision", "main")[0] == 0
    folder = tmp_path / "encoders" / NAME
    for revision, expected, message in (
        (COMMIT, 0, f"{NAME} is in {folder}"),
        ("main", 0, f"{NAME} is in {folder}"),
        (
            "v2",
            2,
            f"{NAME}: its commit {COMMIT} is in {folder}; remove this folder to fetch {OTHER}",
        ),
        ("../../x", 2, "cannot be fetched into"),
    ):
        code, out, err = fetch("--yes", "--revision", revision)
        assert code == expected, (revision, err)
        assert message in out + err, (revision, err)
    hub.commits["main"] = OTHER  # a newer commit does not mix with the one that was fetched
    (folder / "model.safetensors").unlink()
    code, _, err = fetch("--yes")
    assert code == 0, err
    assert f"commit {COMMIT}" in err, err


@pytest.mark.parametrize(
    "content", ["", "[]", '{"files": ["a"]}', '{"files": {"a": "b"}, "revision": 5}']
)
def test_a_damaged_record_is_written_again(hub, fetch, tmp_path, content):
    assert fetch("--yes")[0] == 0
    record = tmp_path / "encoders" / NAME / "fetched.json"
    record.write_text(content)
    code, _, err = fetch("--yes")
    assert (code, read_json(record)["revision"]) == (0, COMMIT), err


@pytest.mark.parametrize(("name", "size"), [(None, str), (5, int)])
def test_names_and_sizes_of_another_type(hub, fetch, name, size):
    hub.size, hub.name = size, name
    code, _, err = fetch("--yes")
    assert code == 2, err
    assert "cannot be fetched into" in err, err


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("harm", ["altered", "deleted"])
def test_what_happens_to_a_file_after_it_was_fetched(hub, fetch, tmp_path, monkeypatch, harm, name):
    monkeypatch.setenv("BCHISTO_ENCODERS", str(tmp_path / "encoders"))
    assert fetch("--yes")[0] == 0
    file = tmp_path / "encoders" / NAME / name
    source_sha256(file.parent)  # its config is not refused, since bchisto knows what to build
    file.unlink() if harm == "deleted" else file.write_bytes(hub.files[name] + b" ")
    monkeypatch.chdir(tmp_path)
    whole = str(file.with_name("model.safetensors"))
    ways = [
        (NAME, weights_of((), NAME)),
        (NAME, f"encoders/{NAME}"),
        (f"hub:encoders/{NAME}", "imagenet"),
    ]
    for text, weights in [
        *ways,
        *([] if (harm, name) == ("deleted", "model.safetensors") else [(NAME, whole)]),
    ]:
        with refusing(
            f"{name}: altered or removed since it was fetched; run `bchisto", WeightsError
        ):
            open_encoder(EncoderChoice(text), weights=weights)
    # by a fetch that was killed
    left = file.parent / ".cache" / "huggingface" / "download" / "x.0123.incomplete"
    left.touch()
    code, _, err = fetch("--yes")
    assert code == 0, err
    assert file.read_bytes() == hub.files[name], err
    assert not left.exists(), err


@pytest.mark.parametrize(
    ("refusal", "environment", "message"),
    [
        (
            "GatedRepo",
            {},
            f"accept the terms at https://huggingface.co/{REPOSITORY}, run `hf auth login`",
        ),
        ("", {"name": "dinov2-base"}, "dinov2-base (404 Client Error.); check"),
        ("", {"name": "resnet50"}, "can be fetched are uni, "),
        ("", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "Connection refused); check"),
        ("Firewall", {}, "(403 Forbidden"),
        ("", {"HF_HUB_OFFLINE": "1"}, "(Cannot reach "),
        (
            "",
            {"BCHISTO_ENCODERS": "/dev/null/x"},
            "Not a directory: '/dev/null/x/dinov2-small/.cache/huggingface'); ",
        ),
    ],
)
def test_every_failure_has_its_own_remedy(hub, fetch, refusal, environment, message):
    hub.refusal = refusal
    code, _, err = fetch("--yes", **environment)
    assert code == 2, err
    assert message in err, err
    assert "--weights" not in err


@pytest.mark.parametrize(
    ("name", "published", "message"),
    [
        (
            NAME,
            {"pytorch_model.bin": b"x"},
            f"has no .safetensors; download {REPOSITORY} into a folder DIR, save "
            "pytorch_model.bin as .safetensors as docs/encoders.md shows, and give --weights dinov2-small=DIR",
        ),
        (
            NAME,
            {"mo\ndel\x1b.safetensors": b"x", "deep/x.safetensors": b"x"},
            "has no .safetensors; download",
        ),
        (NAME, {"a.safetensors": b"x", "b.safetensors": b"x"}, "has 2 .safetensors, and no index"),
    ],
)
def test_a_repository_without_the_files_of_one_network(hub, fetch, name, published, message):
    hub.published, hub.repository = published, REPOSITORY
    code, _, err = fetch("--yes", name=name)
    assert code == 2, err
    assert message in err, err


def test_a_recipe_fetches_what_it_measures(start, tmp_path):
    words = typed("bach-encoder --encoder {} --images {} --plan --yes", NAME, str(tmp_path))
    environment = {
        **os.environ,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "BCHISTO_ENCODERS": str(tmp_path / "encoders"),
    }
    _, err = start("reproduce", *words, env=environment).communicate(timeout=120)
    assert f"{REPOSITORY}: cannot be fetched into" in err
