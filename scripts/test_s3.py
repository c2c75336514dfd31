"""Stores and runs at s3://, against moto's server (PyPI) and a proxy before it that fails on purpose: test_s3.py SAELAB FOLDER.

What is harvested into and trained from a bucket must have the bytes of what is made here, also where a quarter of the requests fail, where
processes are killed, and where several write at once; nothing may be seen before it is whole; the secret key may stand nowhere. At the
end it measures what s3:// costs against the local disk.
"""

import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import boto3
import botocore.config

SAELAB, WORK = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
SECRET = "test-s3-secret-8f2c1b7d"
MODEL = pathlib.Path("models/small-world")
HOOKS = "blocks.1.hook_resid_pre", "blocks.3.hook_resid_post"
TRAIN = """
steps = 800
batch = 256
expansion = 2
checkpoint_every = 100

[[autoencoder]]
architecture = "topk"
k = [4, 8]
"""
# They tell times, and two trainings differ in them.
TOLD = ("metrics.jsonl", "events.out")
began = time.monotonic()
children = []


def say(text):
    print(f"{time.monotonic() - began:5.1f} s  {text}", flush=True)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(*words):
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=open(WORK / "servers.log", "a"))
    children.append(child)
    return child


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"error: nothing listens on port {port}")


def environment(port, cache, **more):
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    of_aws = {
        "AWS_ACCESS_KEY_ID": "test-s3-key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
    }
    return {key: value for key, value in {**keep, **of_aws, "SAELAB_CACHE": str(WORK / cache), **more}.items() if value is not None}


def saelab(words, env, **more):
    log = open(WORK / "saelab.log", "ab")
    return subprocess.Popen([SAELAB, *map(str, words)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more), log


def finish(process, expect=0, limit=120):
    process, log = process
    out, err = process.communicate(timeout=limit)
    log.write(out + err)
    log.close()
    if process.returncode != expect:
        sys.exit(f"error: {process.args} ended with {process.returncode}, expected {expect}:\n{err.decode()}")
    return out.decode(), err.decode()


def harvest(out, documents, rows, *more):
    hooks = json.dumps(HOOKS)
    return ["harvest", "configs/quality/harvest-text.toml", "--out", out, "--set", f"source.documents={documents}",
            "--set", f"rows_per_shard={rows}", "--set", f"shuffle_window={rows}", "--set", f"hooks={hooks}", *more]


def train(run, *more):
    return ["train", WORK / "train.toml", "--run", run, *more]


def local_files(folder):
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in files.items() if not name.endswith(".lock")}


def objects(prefix):
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix + "/"):
        for entry in page.get("Contents", []):
            found[entry["Key"][len(prefix) + 1:]] = client.get_object(Bucket="bucket", Key=entry["Key"])["Body"].read()
    return found


def abandoned(prefix):
    """Objects of a checkpoint that was being put when its process was killed: below the empty object that marks it, which no command reads."""
    found = objects(prefix)
    marks = [name for name, data in found.items() if name.startswith("checkpoints/") and name.endswith("/.partial-put") and data == b""]
    folders = tuple(name.removesuffix(".partial-put") for name in marks)
    return {name for name in found if name.startswith(folders)}


def same(prefix, folder, what, but=frozenset()):
    """All objects below a prefix are the files of a folder, and no others but some that are named."""
    is_told = lambda name: name.rsplit("/", 1)[-1].startswith(TOLD)
    there, here = ({name: data for name, data in files.items() if not is_told(name)} for files in (objects(prefix), local_files(folder)))
    there = {name: data for name, data in there.items() if name not in but}
    if there.keys() != here.keys():
        sys.exit(f"error: {what}: only there {sorted(there.keys() - here.keys())}, only here {sorted(here.keys() - there.keys())}")
    different = [name for name in here if here[name] != there[name]]
    if different:
        sys.exit(f"error: {what}: other bytes in {different}")
    say(f"{what}: {len(there)} objects, {sum(map(len, there.values())) / 1e6:.1f} MB, the same bytes as here")


def uploads():
    return {entry["UploadId"]: entry["Key"] for entry in client.list_multipart_uploads(Bucket="bucket").get("Uploads", [])}


def keys(prefix):
    return [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket", Prefix=prefix + "/").get("Contents", [])]


def kill_when(process, is_time, what):
    """SIGKILL as soon as something has happened."""
    while process[0].poll() is None and not is_time():
        time.sleep(0.02)
    if process[0].poll() is not None:
        sys.exit(f"error: {what}: it ended before it was killed: {process[0].stderr.read().decode()}")
    process[0].send_signal(signal.SIGKILL)
    process[0].wait()
    process[1].close()


def settle(prefix):
    """Waits for requests that a killed process has sent and the server has not carried out yet."""
    before = None
    while (now := keys(prefix)) != before:
        before = now
        time.sleep(0.5)


def refused(words, env, what, contains):
    begin = time.monotonic()
    _, err = finish(saelab(words, env), expect=1)
    seconds, last = time.monotonic() - begin, err.strip().splitlines()[-1]
    if contains not in last or sum("error" in line for line in err.splitlines()) != 1 or seconds > 60:
        sys.exit(f"error: {what}: after {seconds:.0f} s:\n{err}")
    say(f"{what}, after {seconds:.1f} s: {last}")


def megabytes(folder):
    return sum(len(data) for data in local_files(folder).values()) / 1e6


def main():
    global client
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    (WORK / "train.toml").write_text(TRAIN)
    moto, faulty = free_port(), free_port()
    start(pathlib.Path(sys.executable).parent / "moto_server", "-p", str(moto))
    start(sys.executable, "scripts/s3_faults.py", str(faulty), str(moto), "0.25", "1")
    wait_for(moto)
    wait_for(faulty)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{moto}", region_name="us-east-1", aws_access_key_id="test-s3-key",
                          aws_secret_access_key=SECRET, config=botocore.config.Config(s3={"addressing_style": "path"}))
    client.create_bucket(Bucket="bucket")
    through_faults = lambda cache: environment(faulty, cache)
    documents, rows = 150, 2000

    # What one process makes on the local disk.
    finish(saelab(harvest(WORK / "local/activations", documents, rows), environment(moto, "none")))
    finish(saelab(train(WORK / "local"), environment(moto, "none")))
    store = WORK / "store"
    shutil.copytree(WORK / "local/activations", store)
    say(f"here: a store of {megabytes(store):.1f} MB, autoencoders of {megabytes(WORK / 'local/sae'):.1f} MB")

    # The same at s3:// with failing requests; harvested on one machine, trained on another.
    finish(saelab(harvest("s3://bucket/run/activations", documents, rows), through_faults("a")))
    same("run/activations", store, "harvested into s3://, a quarter of the requests failing")
    finish(saelab(train("s3://bucket/run"), through_faults("b")))
    same("run", WORK / "local", "trained from s3:// on another machine, a quarter of the requests failing")
    out, _ = finish(saelab(["status", "s3://bucket/run"], through_faults("c")))
    if "complete" not in out or "4 autoencoders" not in out or str(WORK) in out:
        sys.exit(f"error: status says {out}")

    # Model, corpus, sites and config at s3://.
    for path in MODEL.iterdir():
        client.upload_file(str(path), "bucket", f"model/{path.name}")
    vocabulary = json.loads((MODEL / "tokenizer.json").read_text())["model"]["vocab"]
    words = [word.replace("\u0120", " ") for word in vocabulary if word.startswith("\u0120") and word[1:].isalpha()]
    text = "".join(json.dumps({"text": "".join(words[i % 50 : i % 50 + 40])}) + "\n" for i in range(200))
    for half in "ab":
        client.put_object(Bucket="bucket", Key=f"corpus/{half}.jsonl", Body=text.encode())
        (WORK / "corpus").mkdir(exist_ok=True)
        (WORK / f"corpus/{half}.jsonl").write_text(text)
    config = f'model = "MODEL"\nhooks = ["{HOOKS[0]}"]\n[source]\nkind = "text"\npath = "CORPUS"\n'
    (WORK / "text.toml").write_text(config.replace("MODEL", str(MODEL.resolve())).replace("CORPUS", str(WORK / "corpus/*.jsonl")))
    client.put_object(Bucket="bucket", Key="text.toml", Body=config.replace("MODEL", "s3://bucket/model").replace(
        "CORPUS", "s3://bucket/corpus/*.jsonl").encode())
    finish(saelab(["harvest", WORK / "text.toml", "--out", WORK / "of-text"], environment(moto, "none")))
    finish(saelab(["harvest", "s3://bucket/text.toml", "--out", "s3://bucket/of-text"], through_faults("b")))
    made = json.loads(client.get_object(Bucket="bucket", Key="of-text/made.json")["Body"].read())
    if made["model"]["asked"] != "s3://bucket/model" or made["settings"]["source"]["path"] != ["s3://bucket/corpus/*.jsonl"]:
        sys.exit(f"error: made.json says {made}")
    (WORK / "of-text/made.json").write_bytes(client.get_object(Bucket="bucket", Key="of-text/made.json")["Body"].read())
    same("of-text", WORK / "of-text", "config, model and corpus at s3://")

    # Killed in mid-harvest: what is seen is whole; then another machine goes on. Once more, and the same machine does.
    for cache, prefix in (("d", "killed-a"), ("a", "killed-b")):
        shards = lambda: sum(key.endswith(".parquet") and "tokens" not in key for key in keys(prefix))
        command = harvest(f"s3://bucket/{prefix}", documents, rows)
        kill_when(saelab(command, through_faults("a")), lambda: shards() >= 2, "killed in mid-harvest")
        # Besides, there is an empty mark while what lies beside it is put.
        is_mark = lambda name, data: name.rsplit("/", 1)[-1] == ".partial-put" and data == b""
        seen, whole = {name: data for name, data in objects(prefix).items() if not is_mark(name, data)}, local_files(store)
        if "manifest.json" in seen or any(whole.get(name) != data for name, data in seen.items()):
            sys.exit(f"error: seen of a killed harvest: {[name for name in seen if whole.get(name) != seen[name]]}")
        finish(saelab(command, through_faults(cache)))
        same(prefix, store, f"killed with {len(seen)} objects put, gone on with on {'another' if cache == 'd' else 'the same'} machine")

    # Killed in the middle of an upload in parts.
    large = 30000
    finish(saelab(harvest(WORK / "large", 600, large), environment(moto, "none")))
    command, before = harvest("s3://bucket/parts", 600, large), uploads()
    begun = lambda: uploads().keys() - before.keys()
    # With a part there, the process has been told of the upload.
    def has_part():
        try:
            of = {upload: key for upload, key in uploads().items() if upload not in before}
            return any(client.list_parts(Bucket="bucket", Key=key, UploadId=upload).get("Parts") for upload, key in of.items())
        except client.exceptions.ClientError:
            return False  # it has ended meanwhile

    kill_when(saelab(command, environment(moto, "m")), has_part, "killed in mid-upload")
    left = begun()
    finish(saelab(command, environment(moto, "m")))
    if len(begun() & left) == len(left):
        sys.exit(f"error: none of {len(left)} uploads begun by a killed process is aborted")
    same("parts", WORK / "large", f"killed with {len(left)} uploads in parts begun, of which the next command has aborted {len(left - begun())}")

    # Killed in training, some time after its first checkpoint was put, gone on with elsewhere.
    for delay in (0, 0.3, 0.6, 0.9):
        prefix = f"resumed-{delay}"
        for name, data in local_files(store).items():
            client.put_object(Bucket="bucket", Key=f"{prefix}/activations/{name}", Body=data)

        def is_time():
            there = keys(f"{prefix}/checkpoints")
            is_whole = lambda key: key.endswith("/SHA256SUMS") and key.replace("SHA256SUMS", ".partial-put") not in there
            return any(map(is_whole, there)) and time.sleep(delay) is None

        kill_when(saelab(train(f"s3://bucket/{prefix}"), environment(moto, f"killed-{delay}")), is_time, "killed in training")
        settle(prefix)
        _, err = finish(saelab(train(f"s3://bucket/{prefix}"), through_faults(f"resumed-{delay}")))
        if delay == 0 and "resumes from its checkpoint" not in err:
            sys.exit(f"error: it did not resume: {err}")
        left = abandoned(prefix)
        same(prefix, WORK / "local", f"killed in training {delay} s after a checkpoint, resumed on another machine, {len(left)} objects left under marks", but=left)

    # Two processes that do the same, and two parts, on machines of their own.
    both = [saelab(harvest("s3://bucket/both", documents, rows), through_faults(cache)) for cache in "gh"]
    parts = [saelab(harvest("s3://bucket/parts-of", documents, rows, "--shard", f"{part}/2"), through_faults(f"part{part}")) for part in (1, 2)]
    for process in both + parts:
        finish(process)
    same("both", store, "two writers of the same")
    there = {name: data for name, data in objects("parts-of").items() if not name.startswith(".work/")}
    if there != local_files(store):
        sys.exit(f"error: two parts: {sorted(there.keys() ^ local_files(store).keys())}")
    out, _ = finish(saelab(["status", "s3://bucket/parts-of", "--json"], through_faults("i")))
    if [unit["state"] for unit in json.loads(out)["stages"][0]["units"]] != ["done", "done"]:
        sys.exit(f"error: status of two parts: {out}")
    say("two parts on two machines: the same bytes as here")

    # Errors: one line, exit code 1, in bounded time.
    look = ["status", "s3://bucket/run"]
    refused(["status", "s3://nowhere/run"], environment(moto, "i"), "no such bucket", "there is no such bucket")
    refused(["status", "s3://bucket/nothing"], environment(moto, "i"), "no such folder", "s3://bucket/nothing: there is no such folder")
    none = environment(moto, "i", AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    refused(look, none, "no credentials", "no credentials were found")
    refused(["status", "s3://forbidden/run"], environment(faulty, "i"), "refused", "AccessDenied")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        dead, silent = free_port(), socket.socket()
        silent.bind(("127.0.0.1", 0))
        waits = [pool.submit(refused, look, environment(dead, "j"), "nobody listens", "cannot be reached"),
                 pool.submit(refused, look, environment(dead, "k", AWS_ENDPOINT_URL="http://nowhere.invalid:1"), "no such host", "cannot be reached")]
        for wait in waits:
            wait.result()
        silent.close()

    _, err = finish(saelab(["status", f"s3://user:{SECRET}@bucket/run"], environment(moto, "i")), expect=2)
    if SECRET in err or "password" not in err:
        sys.exit(f"error: a location with a password: {err.replace(SECRET, '***')}")

    # A store on a web server, which lists nothing and takes nothing.
    web = free_port()
    start(sys.executable, "-m", "http.server", str(web), "--bind", "127.0.0.1", "--directory", str(WORK))
    wait_for(web)
    finish(saelab(train(WORK / "web", "--activations", f"http://127.0.0.1:{web}/store"), environment(moto, "l")))
    of_web, here = local_files(WORK / "web/sae"), local_files(WORK / "local/sae")
    if {name: data for name, data in of_web.items() if name.endswith(".safetensors")} != {
            name: data for name, data in here.items() if name.endswith(".safetensors")}:
        sys.exit("error: a training from a web server has other bytes")
    _, err = finish(saelab(harvest(f"http://127.0.0.1:{web}/new", documents, rows), environment(moto, "l")), expect=2)
    say(f"trained from a web server; written to it: {err.strip().splitlines()[-1]}")

    faults = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{faulty}/__faults").read())
    say(f"on purpose: {faults}")
    if min(faults.get(kind, 0) for kind in ("500", "503", "429", "cut upload", "lost answer")) == 0:
        sys.exit("error: a kind of fault never happened")

    # No credential anywhere: local files, copies, journals, logs, objects.
    for path in WORK.rglob("*"):
        if path.is_file() and path.name != "servers.log" and SECRET.encode() in path.read_bytes():
            sys.exit(f"error: the secret stands in {path}")
    for prefix in ("run", "of-text", "resumed-0", "parts-of"):
        for name, data in objects(prefix).items():
            if SECRET.encode() in data or str(WORK).encode() in data:
                sys.exit(f"error: the secret or a local path stands in {prefix}/{name}")
    say("the secret key stands in no file, object or message")
    measure(moto)


def measure(moto):
    """What s3:// costs against the local disk, and what moto's server can do at all."""
    env, mb = environment(moto, "speed"), megabytes(WORK / "large")
    seconds = {}
    for what, words in (("here", harvest(WORK / "speed", 600, 30000)), ("s3", harvest("s3://bucket/speed", 600, 30000))):
        begin = time.monotonic()
        finish(saelab(words, env))
        seconds[what] = time.monotonic() - begin
    say(f"a harvest of {mb:.0f} MB: {seconds['here']:.2f} s here, {seconds['s3']:.2f} s into s3://: {seconds['here'] / seconds['s3']:.2f} of the local speed")
    shutil.copytree(WORK / "large", WORK / "read/activations")
    for name, data in local_files(WORK / "large").items():
        client.put_object(Bucket="bucket", Key=f"read/activations/{name}", Body=data)
    for what, run in (("here", WORK / "read"), ("s3", "s3://bucket/read")):
        begin = time.monotonic()
        finish(saelab(train(run), env))
        seconds[what] = time.monotonic() - begin
    say(f"a training on them: {seconds['here']:.2f} s here, {seconds['s3']:.2f} s from and to s3://, {seconds['here'] / seconds['s3']:.2f} of the local speed")
    # The bytes alone: 256 MB in 4 files.
    data = os.urandom(1 << 26)
    (WORK / "bytes").mkdir()
    for index in range(4):
        (WORK / f"bytes/{index}.bin").write_bytes(data)
        client.put_object(Bucket="bucket", Key=f"bytes/{index}.bin", Body=data)
    size = 4 * len(data) / 1e6
    shutil.rmtree(WORK / "speed-bytes", ignore_errors=True)
    begin = time.monotonic()
    finish(saelab(["inspect", "s3://bucket/bytes"], environment(moto, "speed-bytes")), expect=1)
    ours = size / (time.monotonic() - begin)
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: client.get_object(Bucket="bucket", Key=f"bytes/{index}.bin")["Body"].read(), range(4)))
    theirs = size / (time.monotonic() - begin)
    begin = time.monotonic()
    for index in range(4):
        with open(WORK / f"bytes/copy-{index}.bin", "wb") as copy:
            copy.write((WORK / f"bytes/{index}.bin").read_bytes())
            copy.flush()
            os.fsync(copy.fileno())
    disk = size / (time.monotonic() - begin)
    say(f"bytes alone, {size:.0f} MB: fetched at {ours:.0f} MB/s; boto3 reads moto at {theirs:.0f} MB/s; the disk copies at {disk:.0f} MB/s")


try:
    main()
finally:
    for child in children:
        child.terminate()
        child.wait()
say("all is as it should be")
