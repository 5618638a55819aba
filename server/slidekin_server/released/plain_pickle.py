"""Pickles of lists, dicts, strings and numbers, read without the pickle machine.

A pickle is a program. ``pickle.Unpickler`` runs it, and its instructions can import and call
anything; even a harmless class of it allocates what the file asks for. Here the instructions are
decoded by the standard library's ``pickletools`` and followed by a machine that knows twenty-odd of
them, none of which imports, calls or makes an object of a class. The first instruction it does not
know ends the reading, before any that follows it is looked at.

The outermost list or dict is handed out item by item, so that a large file is never held whole.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, Final, TypeAlias, cast

from slidekin_server.released.errors import ReleaseError

Plain: TypeAlias = "str | int | float | list[Plain] | dict[str | int | float, Plain]"
"""What such a pickle can hold."""

MAX_ARGUMENT_BYTES: Final = 1 << 16
"""Longest string: a texture has 1024 characters."""
MAX_DEPTH: Final = 6
"""A dict of lists of dicts of lists: four; two to spare."""
MAX_HEIGHT: Final = 1 << 16
"""Values waiting to be put into their container: picklers write them in batches of a thousand."""
REMEMBERED_CHARACTERS: Final = 256
"""A longer string is not kept for being referred to again: memory stays small."""

_FIRST_PROTOCOL, _LAST_PROTOCOL = 2, 5


class RefusedPickleError(ReleaseError):
    """The file is no pickle of plain values, or is damaged."""


def read_list(file: BinaryIO, name: str) -> Iterator[Plain]:
    """Yield the items of a pickled list.

    Args:
        file: Open for reading, at the pickle's first byte.
        name: What errors call it.

    Raises:
        RefusedPickleError: It holds anything but lists, dicts, strings and numbers, or no list.
    """
    return (value for _, value in _Machine(file, name, list).items())


def read_dict(file: BinaryIO, name: str) -> Iterator[tuple[Plain, Plain]]:
    """Yield keys and values of a pickled dict; a key may come twice.

    Args:
        file: Open for reading, at the pickle's first byte.
        name: What errors call it.

    Raises:
        RefusedPickleError: It holds anything but lists, dicts, strings and numbers, or no dict.
    """
    return _Machine(file, name, dict).items()


class _Source:
    """The file as ``pickletools`` sees it: no argument is read that is longer than it may be."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        if size > MAX_ARGUMENT_BYTES:
            raise ValueError(f"a value of {size} bytes; {MAX_ARGUMENT_BYTES} are the most")
        return self._file.read(size)

    def readline(self) -> bytes:
        # Arguments that end with their line belong to instructions that are refused; their
        # beginning is read so that the refusal can say what was asked for.
        # Backslashes are doubled: Python warns of an escape sequence that it does not know.
        line = self._file.readline(256).replace(b"\\", b"\\\\")
        return line if line.endswith(b"\n") else line + b"\n"


class _Machine:
    """Follows the instructions of one pickle."""

    def __init__(self, file: BinaryIO, name: str, kind: type[list[Any] | dict[Any, Any]]) -> None:
        self._file = file
        self._name = name
        self._kind = kind
        self._stack: list[Plain] = []
        self._depths: list[int] = []
        """How deep each value of the stack is nested: 0 for strings and numbers."""
        self._marks: list[int] = []
        self._remembered: dict[int, str] = {}
        self._put = 0
        self._handed_out = 0
        self._steps: dict[str, Callable[[Any], None]] = {
            "PROTO": self._check_protocol,
            "FRAME": lambda _: None,  # says how far to read ahead
            "STOP": lambda _: None,  # nothing comes after it, or `pickletools` would go on
            "MARK": lambda _: self._marks.append(len(self._stack)),
            "EMPTY_LIST": lambda _: self._push([], 1),
            "EMPTY_DICT": lambda _: self._push({}, 1),
            **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1"), self._push_integer),
            **dict.fromkeys(("BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"), self._push),
            **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), self._remember),
            **dict.fromkeys(("BINGET", "LONG_BINGET"), self._recall),
        }
        self._stores: dict[str, Callable[[], Iterator[tuple[Plain, Plain]]]] = {
            "APPEND": lambda: self._append(*self._taken(1)),
            "APPENDS": lambda: self._append(*self._taken_batch()),
            "SETITEM": lambda: self._set_items(*self._taken(2)),
            "SETITEMS": lambda: self._set_items(*self._taken_batch()),
        }

    def items(self) -> Iterator[tuple[Plain, Plain]]:
        """Yield what is put into the outermost container; a list's items under their number."""
        try:
            for number, (opcode, argument, _) in enumerate(
                pickletools.genops(cast("IO[bytes]", _Source(self._file)))
            ):
                name = opcode.name
                if (number == 0) != (name == "PROTO"):
                    raise self._refused("it does not begin as a binary pickle does")
                if name in self._steps:
                    self._steps[name](argument)
                elif name in self._stores:
                    yield from self._stores[name]()
                else:
                    raise self._forbidden(name, argument)
        except (ValueError, OverflowError) as error:
            # `pickletools` says so of damaged files, and of strings that are no UTF-8.
            raise self._refused(" ".join(str(error).split()) or "cannot be decoded") from None
        if len(self._stack) != 1 or self._marks:
            raise self._refused("it ends with values left over")
        if self._file.read(1):
            raise self._refused("something follows its end")

    def _push(self, value: Plain, depth: int = 0) -> None:
        if len(self._stack) >= MAX_HEIGHT:
            raise self._refused(f"more than {MAX_HEIGHT} values wait for their container")
        if not self._stack and not isinstance(value, self._kind):
            raise self._refused(f"its outermost value is no {self._kind.__name__}")
        self._stack.append(value)
        self._depths.append(depth)

    def _push_integer(self, value: int) -> None:
        if value.bit_length() > 63:
            raise self._refused("an integer needs more than 64 bits")
        self._push(value)

    def _append(self, target: Plain, values: list[Plain]) -> Iterator[tuple[Plain, Plain]]:
        if not isinstance(target, list):
            raise self._refused("items are put into what is no list")
        if len(self._stack) > 1:
            target.extend(values)
            return
        for value in values:
            yield self._handed_out, value
            self._handed_out += 1

    def _set_items(self, target: Plain, flat: list[Plain]) -> Iterator[tuple[Plain, Plain]]:
        if not isinstance(target, dict) or len(flat) % 2:
            raise self._refused("keys and values are put into what is no dict, or do not pair")
        outermost = len(self._stack) == 1
        for key, value in zip(flat[0::2], flat[1::2], strict=True):
            if isinstance(key, list | dict):
                raise self._refused("a list or dict is the key of a dict")
            if outermost:
                yield key, value
            elif key in target:
                raise self._refused("a key comes twice in one dict")
            else:
                target[key] = value

    def _taken_batch(self) -> tuple[Plain, list[Plain]]:
        """Take the values down to the last mark off the stack, and say what they are put into."""
        if not self._marks:
            raise self._refused("it is damaged: a batch has no beginning")
        return self._taken(len(self._stack) - self._marks.pop())

    def _taken(self, count: int) -> tuple[Plain, list[Plain]]:
        """Take ``count`` values off the stack, and say what they are put into."""
        start = len(self._stack) - count
        if start < 1 or (self._marks and start <= self._marks[-1]):
            raise self._refused("it is damaged: values are missing")
        values = self._stack[start:]
        depth = max(self._depths[start - 1], 1 + max(self._depths[start:], default=0))
        if depth > MAX_DEPTH:
            raise self._refused(f"its values are nested more than {MAX_DEPTH} deep")
        del self._stack[start:], self._depths[start:]
        self._depths[-1] = depth
        return self._stack[-1], values

    def _remember(self, place: int | None) -> None:
        if not self._stack:
            raise self._refused("it is damaged: a value is missing")
        value = self._stack[-1]
        if isinstance(value, str) and len(value) <= REMEMBERED_CHARACTERS:
            self._remembered[self._put if place is None else place] = value
        self._put += 1

    def _recall(self, place: int) -> None:
        if place not in self._remembered:
            raise self._refused(
                "it refers a second time to a list, a dict or a long string, as no file of plain "
                "values needs to"
            )
        self._push(self._remembered[place])

    def _check_protocol(self, version: int) -> None:
        if not _FIRST_PROTOCOL <= version <= _LAST_PROTOCOL:
            raise self._refused(
                f"it is of pickle protocol {version}; protocols {_FIRST_PROTOCOL} to "
                f"{_LAST_PROTOCOL} are read"
            )

    def _forbidden(self, instruction: str, argument: object) -> RefusedPickleError:
        asked = f" ({argument!r:.80})" if isinstance(argument, str) else ""
        return self._refused(
            f"it holds the instruction {instruction}{asked}, and only lists, dicts, strings and "
            "numbers are read; nothing of it was run. Objects of numpy and of other packages are "
            "refused too: have them written as plain values"
        )

    def _refused(self, reason: str) -> RefusedPickleError:
        return RefusedPickleError(f"{self._name} is refused: {reason}")
