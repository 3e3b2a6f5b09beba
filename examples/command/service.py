"""What the two examples share: what is said to pkgwarden on standard output, and to a service over HTTP."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

# How long to wait between two looks at a build, in seconds.
PAUSE = float(os.environ.get("BUILD_POLL", "5"))
# The most that is taken of what a build made, in bytes.
MOST = 16 << 30
# The status of a program that pkgwarden takes for a failure of the infrastructure. No package says that of itself.
TEMPORARY = 75
# What is raised where a service, or the way there, is not as it should be.
BROKEN = (OSError, http.client.HTTPException)


class TooLong(Exception):
    """The build cannot be told to the service."""


class Stopped(Exception):
    """pkgwarden wants this build to stop."""


class Refused(Exception):
    """The service answered that it will not."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


def stop_on_signals():
    """Has SIGTERM raise `Stopped` wherever the program is."""

    def stop(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    signal.signal(signal.SIGTERM, stop)


def say(frame, data=b""):
    """One frame; see docs/executors.md."""
    sys.stdout.buffer.write(frame.encode() + b"\n" + data)
    sys.stdout.buffer.flush()


def log(data):
    """Bytes of the log. Nothing in them is taken for a frame."""
    if data:
        say(f"@ log {len(data)}", data)


def note(text):
    """A line of ours in the log."""
    log(f"==> {text}\n".encode())


def begun():
    """The build begins: its time runs from now on."""
    say("@ begun")


def end(status, message, infrastructure=False):
    """How the build ended; the program ends with it."""
    word = {"status": status, "message": message}
    if infrastructure:
        word["kind"] = "infrastructure"
    say("@ end " + json.dumps(word))
    sys.exit(0)


class Service:
    """A service that is asked over HTTP, with a token that goes to nobody else."""

    def __init__(self, url, headers):
        self.url = url.rstrip("/")
        self.headers = headers

    def open(self, method, path, body=None, headers=None, timeout=60):
        """Asks once. The token does not follow a redirect: files mostly lie with somebody else."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers or {})
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in self.headers.items():
            request.add_unredirected_header(name, value)
        return urllib.request.urlopen(request, timeout=timeout)

    def ask(self, method, path, body=None):
        """Asks once, and gives the answer as JSON."""
        try:
            # Shorter than the time that pkgwarden gives us to stop what we began.
            with self.open(method, path, body, timeout=20) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read(400).decode(errors="replace")) from error
        return json.loads(text) if text else None

    @contextlib.contextmanager
    def started(self, path, body, place):
        """Starts something that builds, and cancels it unless it is followed to its end; `place` says where it is.

        A signal waits until it is known what was started."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            made = self.ask("POST", path, body)
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
                yield made
            except BaseException:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                self.cancel(place(made))
                raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def cancel(self, place):
        try:
            self.ask("POST", f"{place}/cancel")
        except (Refused, ValueError, *BROKEN) as error:
            note(f"it could not be cancelled: {error!r}")

    def look(self, path, headers=None, into=None):
        """Reads until it can be read, however long the service is away; `into` takes what is large.

        Gives the status and the bytes; 404 and 416 are answers too."""
        pause = PAUSE
        while True:
            try:
                with self.open("GET", path, headers=headers) as answer:
                    if into is None:
                        return answer.status, answer.read()
                    shutil.copyfileobj(answer, into)
                    # Where a body is read in pieces, nothing says that it broke off.
                    if answer.length:
                        raise http.client.IncompleteRead(b"", answer.length)
                    return answer.status, b""
            except urllib.error.HTTPError as error:
                if error.code in (404, 416):
                    return error.code, b""
                if error.code < 500 and error.code not in (408, 429):
                    raise Refused(error.code, error.read(400).decode(errors="replace")) from error
            except BROKEN:
                pass
            if into is not None:
                into.seek(0)
                into.truncate()
            time.sleep(pause)
            pause = min(pause * 2, 60)

    def look_json(self, path):
        """The same, of JSON; nothing if it is not there."""
        status, text = self.look(path)
        return json.loads(text) if status == 200 else None


def status_of(text):
    """The status in what a build left, which may be anything."""
    text = text.strip()
    number = int(text) if re.fullmatch(rb"[0-9]{1,3}", text) else 1
    return number if number < 256 else 1


def leave(left, failed):
    """Ends as the build did, by the status that it left; one that says that a signal ended it is nobody's fault. The
    service knows better whether it failed."""
    if failed:
        sys.exit(1 if left in (None, 0, TEMPORARY) else left)
    sys.exit(left or 0)


def take_artefacts(service, path, artefact_dir):
    """Takes the packages out of an archive that the build made, and gives the status that it left, if it did."""
    with tempfile.TemporaryFile(dir=".") as archive:
        status, _ = service.look(path, into=archive)
        if status != 200 or archive.tell() == 0:
            return None
        left = None
        with zipfile.ZipFile(archive) as files:
            if sum(entry.file_size for entry in files.infolist()) > MOST:
                end("failed", "the build made more than is taken")
            for entry in files.infolist():
                name = entry.filename.rsplit("/", 1)[-1]
                if name == "status":
                    with files.open(entry) as source:
                        left = status_of(source.read(5))
                elif re.fullmatch(r"[^.][^\0]*\.pkg\.tar\.(zst|xz|gz)", name):
                    with files.open(entry) as source, open(os.path.join(artefact_dir, name), "xb") as target:
                        shutil.copyfileobj(source, target)
        return left


def read_build():
    """The build, and what is told of it to others: nothing of this machine, and no token."""
    build = json.load(sys.stdin)
    ours = ("package_dir", "artefact_dir", "token", "log", "artefacts")
    return build, json.dumps({key: value for key, value in build.items() if key not in ours})


def within(told, most, service):
    """What is told of the build, if the service takes as much."""
    if len(told) > most:
        raise TooLong(f"{service} takes {most} characters of a build, and this one has {len(told)}: it names many "
                      "packages that are published, or many keys")
    return told


def setting(name, default=None):
    """A setting from the environment."""
    value = os.environ.get(name, default)
    if value is None:
        end("failed", f"{name} is not set: name it in executor.command.env, and set it", infrastructure=True)
    return value


def secret(name):
    """A token from the environment, or from the file that NAME_FILE names."""
    path = os.environ.get(name + "_FILE")
    if path:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    return setting(name)


def run(carry_out):
    """Runs a program to its end, whatever happens."""
    stop_on_signals()
    say("@pkgwarden 1")
    try:
        build, told = read_build()
        carry_out(build, told)
    except Stopped:
        end("cancelled", "it was stopped")
    except TooLong as error:
        end("failed", str(error), infrastructure=True)
    except Refused as error:
        end("failed", f"the service refused: {error}", infrastructure=True)
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile, *BROKEN) as error:
        end("failed", f"what the service answered is of no use: {error!r}", infrastructure=True)
