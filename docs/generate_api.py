"""Writes docs/api.md from the comments in protos/: ``python docs/generate_api.py OUT``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from slidekin.v1 import access_pb2

PROTOS = Path(__file__).resolve().parent.parent / "protos"
HEAD = """# API

The contract of `slidekin.v1`, generated from `protos/` by `make docs`: do not edit.
Errors carry canonical gRPC codes with `google.rpc` details: `ErrorInfo` (a stable `reason`),
`BadRequest` (which field), `ResourceInfo` (which resource), `RetryInfo` (when to come back).
What a call needs of its caller is the column "needs": a permission, and for what
([security.md](security.md)).
"""

# Numbers of the fields that lead to an element in a descriptor's path of source locations.
FILE_MESSAGE, FILE_ENUM, FILE_SERVICE, ELEMENT = 4, 5, 6, 2
NESTED_MESSAGE, ENUM_VALUE, METHOD = 3, 2, 2


class Comments:
    """Comments of one file, by the path of the element they stand before."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._texts = {
            tuple(location.path): " ".join(location.leading_comments.split())
            for location in file.source_code_info.location
        }

    def __call__(self, *path: int) -> str:
        """The comment before the element at ``path``, on one line."""
        return self._texts.get(path, "")


def files() -> Sequence[FileDescriptorProto]:
    """The project's proto files with their comments."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "descriptors.bin"
        names = [str(path.relative_to(PROTOS)) for path in sorted(PROTOS.rglob("*.proto"))]
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}"]
        subprocess.run(
            [*command, "--include_source_info", f"--descriptor_set_out={out}", *names], check=True
        )
        return FileDescriptorSet.FromString(out.read_bytes()).file


def type_name(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    """The type of a field as one would write it."""
    name = field.type_name.rsplit(".", 1)[-1]
    for nested in message.nested_type:
        if nested.options.map_entry and nested.name == name:
            key, value = nested.field
            return f"map<{type_name(key, nested)}, {type_name(value, nested)}>"
    if field.type_name.startswith(".slidekin.v1."):
        name = f"[{name}](#{name.lower()})"
    elif not field.type_name:
        name = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if field.proto3_optional else name


def message_lines(
    message: DescriptorProto, comments: Comments, path: tuple[int, ...]
) -> Iterator[str]:
    """One message as a table of its fields."""
    yield f"\n### {message.name}\n\n{comments(*path)}\n"
    if not message.field:
        return
    yield "| field | type | meaning |\n|---|---|---|"
    for index, field in enumerate(message.field):
        one_of = ""
        if field.HasField("oneof_index") and not field.proto3_optional:
            one_of = f" (one of `{message.oneof_decl[field.oneof_index].name}`)"
        meaning = comments(*path, ELEMENT, index).replace("|", "\\|")
        yield f"| `{field.name}` | {type_name(field, message)} | {meaning}{one_of} |"


def enum_lines(
    enum: EnumDescriptorProto, comments: Comments, path: tuple[int, ...]
) -> Iterator[str]:
    """One enum as a table of its values."""
    yield f"\n### {enum.name}\n\n{comments(*path)}\n\n| value | meaning |\n|---|---|"
    for index, value in enumerate(enum.value):
        yield f"| `{value.name}` | {comments(*path, ENUM_VALUE, index)} |"


def need(method: MethodDescriptorProto) -> str:
    """What a call needs of its caller."""
    access = method.options.Extensions[access_pb2.access]
    permission = access_pb2.Permission.Name(access.permission).removeprefix("PERMISSION_").lower()
    match access.WhichOneof("target"), access.reach:
        case "collection_field", _:
            return f"{permission}: `{access.collection_field}`"
        case _, access_pb2.REACH_SERVICE:
            return f"{permission}: all collections"
        case _:
            return f"{permission}: any collection"


def service_lines(
    service: ServiceDescriptorProto, comments: Comments, path: tuple[int, ...]
) -> Iterator[str]:
    """One service as a table of its calls."""
    yield f"\n## {service.name}\n\n{comments(*path)}\n"
    yield "| call | request | response | needs | meaning |\n|---|---|---|---|---|"
    for index, method in enumerate(service.method):
        request = method.input_type.rsplit(".", 1)[-1]
        response = method.output_type.rsplit(".", 1)[-1]
        incoming = "stream " if method.client_streaming else ""
        outgoing = "stream " if method.server_streaming else ""
        yield (
            f"| `{method.name}` | {incoming}[{request}](#{request.lower()}) "
            f"| {outgoing}[{response}](#{response.lower()}) | {need(method)} "
            f"| {comments(*path, METHOD, index)} |"
        )


def page() -> Iterator[str]:
    """The whole page, piece by piece: services first, then what they carry."""
    yield HEAD
    described = [(file, Comments(file)) for file in files()]
    for file, comments in described:
        for index, service in enumerate(file.service):
            yield from service_lines(service, comments, (FILE_SERVICE, index))
    yield "\n## Messages"
    for file, comments in described:
        for index, message in enumerate(file.message_type):
            yield from message_lines(message, comments, (FILE_MESSAGE, index))
    yield "\n## Enums"
    for file, comments in described:
        for index, enum in enumerate(file.enum_type):
            yield from enum_lines(enum, comments, (FILE_ENUM, index))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("\n".join(page()) + "\n", encoding="utf-8")
