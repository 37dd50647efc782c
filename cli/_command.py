"""What all console scripts share: exit status, one-line errors, advice on what to do next."""

import errno
import inspect
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tfgen import errors, registry
from tfgen.errors import InterruptedRunError, TfgenError, UsageError, printable
from tfgen.publishing.versions import is_version
from tfgen.system.quiet import interruptible
from tfgen.system.terminal import count_noun

from ._flags import Parser, SamplingOptions, add_flags, add_sampling_flags, read_flags

# Where published versions are by default.
SAVED_MODELS = Path("saved_models")
# Skipped files that are listed at the terminal.
_MAX_SKIPPED = 20
_Options = TypeVar("_Options")


def command(
    prog: str, config: type[_Options]
) -> Callable[[Callable[[_Options], None]], Callable[..., int]]:
    """Make the `main` of a console script from a function that takes its options.

    Ctrl-C and SIGTERM end the work with the exit statuses 130 and 143.

    Args:
        prog: the console script's name.
        config: the dataclass of its arguments and flags. The text above them is the docstring of
            the function.
    """

    def decorate(work: Callable[[_Options], None]) -> Callable[..., int]:
        def read(argv: list[str]) -> _Options:
            parser = Parser(prog, inspect.getdoc(work) or "")
            add_flags(parser, config)
            if issubclass(config, SamplingOptions):
                add_sampling_flags(parser)
            options: _Options = read_flags(parser.parse(argv), config)
            return options

        def main(argv: Sequence[str] | None = None) -> int:
            return run_command(prog, read, interruptible()(work), argv)

        return main

    return decorate


def run_command(
    prog: str,
    read: Callable[[list[str]], _Options],
    work: Callable[[_Options], None],
    argv: Sequence[str] | None,
) -> int:
    """Run a command and turn its end into an exit status.

    Args:
        prog: the console script's name, the first word of an error.
        read: parses the arguments into options; raises if they are wrong.
        work: the command; raises on failure.
        argv: the arguments without the program's name; None takes them from `sys.argv`.

    Returns:
        0 if it is done, 1 if the work failed, 2 if the command was wrong, 130 or 143 if it was
        interrupted.
    """
    status = 0
    try:
        try:
            work(read(list(sys.argv[1:] if argv is None else argv)))
        except SystemExit as request:  # how argparse ends `--help`
            status = request.code if isinstance(request.code, int) else 0
        # Not only when Python ends: that would print a traceback about a full disk.
        print(end="", flush=True)
        return status
    except TfgenError as error:
        kind = "" if isinstance(error, InterruptedRunError) else "error: "
        return _report(prog, str(error), error.exit_status, kind)
    except KeyboardInterrupt as error:
        signum = getattr(error, "signum", signal.SIGINT)
        text = "terminated" if signum == signal.SIGTERM else "interrupted"
        return _report(prog, text, 128 + signum, "")
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has ended
        discard_output()
        return 1
    except OSError as error:
        if error.filename is None and error.errno == errno.ENOSPC:
            discard_output()  # else Python tries again to write it when it ends
        return _report(prog, errors.os_error_text(error), 1)
    except Exception as caught:
        cause = errors.original_error(caught)
        # TensorFlow's error, by its name, since not every command imports TensorFlow.
        if isinstance(cause, MemoryError) or type(cause).__name__ == "ResourceExhaustedError":
            # TensorFlow raises the same error for a full disk.
            full = os.strerror(errno.ENOSPC)
            if match := re.search(rf"([^}}\n]*); {full}", str(cause)):
                fault = OSError(errno.ENOSPC, full, match[1].strip())
                return _report(prog, errors.os_error_text(fault), 1)
            return _report(prog, "out of memory; ask for a smaller batch, model or request", 1)
        if os.environ.get("TFGEN_TRACEBACK"):
            raise
        return _report(prog, f"{errors.describe(cause)} (TFGEN_TRACEBACK=1 shows where)", 1)


def _report(prog: str, message: str, status: int, kind: str = "error: ") -> int:
    print(f"{prog}: {kind}{printable(' '.join(message.split()))}", file=sys.stderr, flush=True)
    return status


def discard_output() -> None:
    """Send standard output nowhere, since its reader has ended."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def check_output(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse an output path before any work is done.

    Raises:
        UsageError: the extension is unknown, the path is a folder, or its parent is missing, not
            writable or a version.
    """
    if path.suffix not in suffixes or path.is_dir():
        raise UsageError(f"cannot write {path}: pass a file that ends in {' or '.join(suffixes)}")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: create the folder {path.parent} first")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be created or written to, before any work is done.

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


def describe_skipped(skipped: Sequence[tuple[Any, str]], rest: str = "") -> list[str]:
    """Lines that list skipped files, each with the reason; none if there are none.

    Args:
        skipped: the files and the reasons.
        rest: where all of them are listed.
    """
    if not skipped:
        return []
    lines = [f"{count_noun(len(skipped), 'file')} skipped:"]
    lines += [printable(f"  {path} {reason}") for path, reason in skipped[:_MAX_SKIPPED]]
    more = len(skipped) - _MAX_SKIPPED
    return [*lines, f"  … and {more} more{rest}"] if more > 0 else lines


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
    """Say on standard error if the last weights of a run are used for lack of best ones.

    Args:
        run: the run directory.
        choice: the value of `--weights`.
        used: the name of the weights that are used.
    """
    if choice == "best" and used != "best":
        print(f"{run} has no best checkpoint; its last weights are used", file=sys.stderr)
