"""Pulls a model from a hub on this machine and shares the cache with `huggingface_hub`, both ways.

    python scripts/interop_hub.py SAELAB FOLDER

SAELAB is the program; caches are written into FOLDER, which must be new. `make test-interop` makes the environment.
"""

import hashlib
import http.server
import os
import pathlib
import subprocess
import sys
import threading

MODEL = pathlib.Path("models/small-world")
FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
NAME, COMMIT = "owner/small-world", "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does for files of a model: small ones known by git's SHA-1, the weights by SHA-256."""

    protocol_version = "HTTP/1.1"
    sent = []

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body):
        name = self.path.split("?")[0].rsplit("/", 1)[1]
        if not self.path.startswith(f"/{NAME}/resolve/") or name not in FILES:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = (MODEL / name).read_bytes()
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.send_header("X-Repo-Commit", COMMIT)
        git = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        self.send_header("ETag", f'"{git}"')
        if name == "model.safetensors":
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(body)))
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        if with_body:
            Hub.sent.append(name)
            self.wfile.write(body[first:])

    def log_message(self, *_):
        pass


def tree(cache):
    """Names below a cache and what links point to; locks and remembered absences are each library's own."""
    paths = [path for path in cache.rglob("*") if ".locks" not in path.parts and ".no_exist" not in path.parts]
    names = {str(path.relative_to(cache)): os.readlink(path) if path.is_symlink() else None for path in paths}
    return {name: target for name, target in names.items() if name != "CACHEDIR.TAG"}


def main(saelab, folder):
    folder = pathlib.Path(folder).absolute()
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.startswith("HF_") or name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    os.environ["HF_HOME"] = str(folder / "home")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Reads the environment when it is imported.
    import huggingface_hub

    def pull(cache, **variables):
        environment = os.environ | {"HF_HUB_CACHE": str(cache)} | variables
        command = [saelab, "model", "pull", NAME]
        return pathlib.Path(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout.decode().strip())

    ours, theirs = folder / "ours", folder / "theirs"
    snapshot = pull(ours)
    assert sorted(Hub.sent) == sorted(FILES), Hub.sent
    for name in FILES:
        for local in [True, False]:
            found = huggingface_hub.hf_hub_download(NAME, name, cache_dir=ours, local_files_only=local)
            assert pathlib.Path(found) == snapshot / name and pathlib.Path(found).read_bytes() == (MODEL / name).read_bytes()
    assert len(Hub.sent) == len(FILES), "nothing is fetched that saelab has pulled"
    [repository], warnings = (lambda info: (list(info.repos), info.warnings))(huggingface_hub.scan_cache_dir(ours))
    assert not warnings and repository.repo_id == NAME and repository.nb_files == len(FILES), warnings
    print(f"huggingface_hub {huggingface_hub.__version__} finds what saelab pulled, and fetches nothing")

    for name in FILES:
        huggingface_hub.hf_hub_download(NAME, name, cache_dir=theirs)
    sent = len(Hub.sent)
    assert sent == 2 * len(FILES)
    assert tree(ours) == tree(theirs), (tree(ours), tree(theirs))
    assert pull(theirs, HF_HUB_OFFLINE="1") == theirs / snapshot.relative_to(ours) == pull(theirs)
    assert len(Hub.sent) == sent, "nothing is fetched that huggingface_hub has downloaded"
    print("saelab finds what huggingface_hub downloaded, offline and not; names and links of both caches are the same")


if __name__ == "__main__":
    main(*sys.argv[1:])
