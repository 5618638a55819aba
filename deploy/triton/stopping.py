"""Stopping and locking: signals, the lifeline, the lock of a run directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from launch_errors import LaunchError

_POLL_S = 0.1


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[BinaryIO]:
    """Lock the run directory; the guard holds the lock, too, until it has cleared up."""
    with (run_dir / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"{run_dir}: another launcher runs there: stop it, or name another --run-dir"
            raise LaunchError(msg) from None
        yield lock


@contextlib.contextmanager
def stop_signals() -> Iterator[socket.socket]:
    """Yield a socket that becomes readable when a stop signal arrives or the server has ended."""
    ours, woken = socket.socketpair()
    for end in (ours, woken):
        end.settimeout(0)
    previous = {
        number: signal.signal(number, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    }
    before = signal.set_wakeup_fd(ours.fileno())
    try:
        yield woken
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in previous.items():
            signal.signal(number, handler)
        ours.close()
        woken.close()


def told_to_stop(woken: socket.socket, *, lifeline: bool) -> bool:
    """Wait for a moment; return whether a signal or the end of the lifeline requests a stop."""
    with selectors.DefaultSelector() as selector:
        selector.register(woken, selectors.EVENT_READ)
        if lifeline:
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        ready = {key.fd for key, _ in selector.select(_POLL_S)}
    if woken.fileno() in ready:
        numbers = woken.recv(64)
        if any(number in numbers for number in (signal.SIGTERM, signal.SIGINT)):
            return True
    return lifeline and sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 4096)
