"""Signals that stop a program, and output that nobody takes any more.

Support code: neither may cost a run that has been trained for hours.
"""

import contextlib
import errno
import os
import signal
import sys

# Ctrl-C, `kill`, a closed terminal, and what a console of Windows can send
SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
]


@contextlib.contextmanager
def signals_call(handler):
    """Call handler(number, frame) at each of SIGNALS that comes meanwhile.

    One of them that nohup ignores stays so.
    """
    before = {}
    with contextlib.suppress(ValueError):  # in a thread: no signal comes here
        for number in SIGNALS:
            found = signal.getsignal(number)
            if found != signal.SIG_IGN or number == signal.SIGINT:
                before[number] = found
                signal.signal(number, handler)
    try:
        yield
    finally:
        for number, found in before.items():
            signal.signal(number, found or signal.SIG_DFL)


class Patient:
    """A stream of text to which no write fails, whoever has closed it."""

    def __init__(self, stream):
        self.stream = stream or open(os.devnull, "w")  # noqa: SIM115, for good
        self.error = None

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        self.attempt("write", text)
        return len(text)

    def flush(self):
        self.attempt("flush")

    def attempt(self, name, *args):
        """Call a method of the stream, which goes nowhere once it fails."""
        try:
            getattr(self.stream, name)(*args)
        except UnicodeError:  # what it cannot spell
            pass
        except (OSError, ValueError) as error:  # full, gone; closed
            self.error = self.error or error
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)

    def failed(self):
        """Return the error of a stream whose reader has not just left."""
        left = getattr(self.error, "errno", errno.EPIPE) == errno.EPIPE
        return None if left else self.error


@contextlib.contextmanager
def patient_output():
    """Let no print and no bar fail in the block; yields standard output."""
    for number in range(3):  # closed ones, lest a checkpoint take the number
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    out, err = Patient(sys.stdout), Patient(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield out
        finally:
            out.flush()
            err.flush()
