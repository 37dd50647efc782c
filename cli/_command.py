"""What all console scripts share: exit status, one-line errors, advice on what to do next."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from tfgen import registry
from tfgen.errors import InterruptedRunError, TfgenError, UsageError, os_error_text
from tfgen.publishing.versions import is_version

# Where published versions are by default.
SAVED_MODELS = Path("saved_models")
_OUT_OF_MEMORY = "out of memory; ask for a smaller batch, a smaller model or fewer images"


def run_command(prog: str, body: Callable[[list[str]], None], argv: Sequence[str] | None) -> int:
    """Runs a command's body and turns its end into an exit status.

    Args:
        prog: the console script's name, the first word of an error.
        body: the command; takes the arguments and raises on failure.
        argv: the arguments without the program's name; None takes them from `sys.argv`.

    Returns:
        0 if it is done, 1 if the work failed, 2 if the command was wrong, 130 or 143 if it was
        interrupted.
    """
    try:
        try:
            body(list(sys.argv[1:] if argv is None else argv))
            status = 0
        except SystemExit as request:  # how argparse ends `--help`
            status = request.code if isinstance(request.code, int) else 0
        if sys.stdout is not None:  # None: the caller has closed it
            # Not only when Python ends: that would print a traceback about a full disk.
            sys.stdout.flush()
        return status
    except InterruptedRunError as error:
        return _report(prog, str(error), error.exit_status, "")
    except TfgenError as error:
        return _report(prog, str(error), error.exit_status)
    except KeyboardInterrupt:
        return _report(prog, "interrupted", 130, "")
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has ended
        _discard_output()
        return 1
    except MemoryError:
        return _report(prog, _OUT_OF_MEMORY, 1)
    except OSError as error:
        if error.filename is None and error.errno == errno.ENOSPC:
            _discard_output()  # else Python tries again to write it when it ends
        return _report(prog, os_error_text(error), 1)
    except Exception as error:
        if os.environ.get("TFGEN_TRACEBACK"):
            raise
        # TensorFlow's error, by its name, since not every command imports TensorFlow.
        if type(error).__name__ == "ResourceExhaustedError":
            return _report(prog, _OUT_OF_MEMORY, 1)
        text = " ".join(str(error).split()) or "no message"
        return _report(
            prog, f"{type(error).__name__}: {text[:300]} (TFGEN_TRACEBACK=1 shows where)", 1
        )


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextlib.contextmanager
def terminable(message: str) -> Iterator[None]:
    """A context in which SIGTERM raises an `InterruptedRunError` with that message.

    Without it, SIGTERM ends the process at once, without removing temporary files.
    """

    def terminate(signum: int, frame: FrameType | None) -> None:
        raise _Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except _Terminated as error:
        raise InterruptedRunError(message, signal.SIGTERM) from error
    finally:
        signal.signal(signal.SIGTERM, previous)


class _Terminated(BaseException):
    """SIGTERM. As with KeyboardInterrupt, code that handles any `Exception` does not stop it."""


def check_output(path: Path, suffixes: Sequence[str]) -> None:
    """Refuses an output path before any work is done.

    Raises:
        UsageError: the extension is unknown, the folder is missing, is not writable or is a
            version, or the path is a folder.
    """
    if path.suffix not in suffixes:
        fault = f"the extension {path.suffix!r} is unknown"
        fault = fault if path.suffix else "it has no extension"
        raise UsageError(f"cannot write {path}: {fault}; use {' or '.join(suffixes)}")
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder; pass the name of a file")
    if not path.parent.is_dir():
        raise UsageError(
            f"cannot write {path}: the folder {path.parent} does not exist; create it first"
        )
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Refuses a folder that cannot be created or written to, before any work is done.

    Raises:
        UsageError: it can be neither created nor written to, or is a version.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    fault = "" if os.access(existing, os.W_OK) else f"{existing} is not writable"
    fault = fault if existing.is_dir() else f"{existing} is a file"
    if is_version(folder):
        fault = "a version may not hold further files"
    if fault:
        raise UsageError(f"cannot write {folder}: {fault}; choose another folder")


def suggest_next(family: str, version: Path) -> str:
    """What to do next with a published version.

    Args:
        family: the family's name.
        version: the version's folder, `<saved models>/<name>/<number>`.
    """
    import shlex  # not needed by --help

    if not registry.family(family).generative:
        path = shlex.quote(str(version))
        return f"judge samples with it: tfgen-evaluate NAME --classifier {path}"
    words = ["tfgen-sample", version.parent.name, "--n", "25"]
    if version.parents[1] != SAVED_MODELS:
        words += ["--saved-models", str(version.parents[1])]
    return f"draw samples with: {shlex.join(words)}"


def say_missing_best(run: Path, choice: str, used: str) -> None:
    """Says on standard error if the last weights of a run are used for lack of best ones.

    Args:
        run: the run directory.
        choice: the value of `--weights`.
        used: the name of the weights that are used.
    """
    if choice == "best" and used != "best":
        print(f"{run} has no best checkpoint; its last weights are used", file=sys.stderr)


def _report(prog: str, message: str, status: int, kind: str = "error: ") -> int:
    print(f"{prog}: {kind}{' '.join(message.split())}", file=sys.stderr, flush=True)
    return status
