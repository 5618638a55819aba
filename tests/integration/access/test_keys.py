"""API keys: made, shown, refused and revoked while the service runs."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from tests.integration.access.keys import create_key, refusal, run_keys, showing
from tests.service_calls import Calls, random_codes
from tests.service_process import ServiceProcess

from slidekin.v1 import admin_pb2, collections_pb2, slides_pb2
from slidekin_server.access.key_file import KeyFile, parse
from slidekin_server.access.roles import Grant, Role


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that asks who is calling."""
    with ServiceProcess(
        tmp_path_factory.mktemp("service"), {"access": {"required": True}}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def channel(service: ServiceProcess) -> Iterator[grpc.Channel]:
    with service.channel() as channel:
        yield channel


@pytest.fixture(scope="module")
def admin(service: ServiceProcess, channel: grpc.Channel) -> Calls:
    """The service's administrator, with one slide in each of two collections."""
    calls = Calls(showing(channel, known(service, channel, "root", "admin")), "skin")
    for collection in ("skin", "breast"):
        one = Calls(calls.channel, collection)
        one.create()
        one.add("S1", random_codes(1), patient_id="P-1")
    return calls


def known(service: ServiceProcess, channel: grpc.Channel, name: str, *grant: str) -> str:
    """A new key that the running service knows by now."""
    key = create_key(service, name, *grant)
    until(lambda: Calls(showing(channel, key)).admin.GetStatus(admin_pb2.GetStatusRequest()))
    return key


def until(call: Callable[[], object], wait_s: float = 30) -> None:
    """Call until it goes well."""
    end = time.monotonic() + wait_s
    while True:
        try:
            call()
        except (grpc.RpcError, pytest.fail.Exception):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def held(calls: Calls) -> list[str]:
    answer = calls.collections.ListCollections(collections_pb2.ListCollectionsRequest())
    return [one.name for one in answer.collections]


def test_who_shows_nothing_is_told_what_to_show(channel: grpc.Channel, admin: Calls):
    found = refusal(Calls(channel, "skin").get)
    assert found.code is grpc.StatusCode.UNAUTHENTICATED
    assert found.info.reason == "CREDENTIALS_MISSING"
    assert "authorization: Bearer" in found.message


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        ("slidekin_aaaaaaaa_" + "x" * 43, "API_KEY_UNKNOWN"),
        ("slidekin_", "API_KEY_UNKNOWN"),
        ("a.b.c", "TOKENS_NOT_ACCEPTED"),
        (" ", "CREDENTIALS_MALFORMED"),
    ],
)
def test_what_opens_nothing_is_refused_with_a_reason(
    channel: grpc.Channel, credential: str, reason: str
):
    found = refusal(Calls(showing(channel, credential), "skin").get)
    assert (found.code, found.info.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)


def test_a_right_id_with_a_wrong_secret_opens_nothing(
    service: ServiceProcess, channel: grpc.Channel
):
    key = known(service, channel, "half", "reader")
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert refusal(Calls(showing(channel, wrong)).get).info.reason == "API_KEY_UNKNOWN"


def test_a_reader_reads_its_collection_and_nothing_else(
    service: ServiceProcess, channel: grpc.Channel, admin: Calls
):
    key = known(service, channel, "lab", "reader", "skin")
    reader, other = (Calls(showing(channel, key), name) for name in ("skin", "breast"))
    assert reader.held() == ["S1"]
    assert reader.search(random_codes(1)).slides == ["S1"]
    assert held(reader) == ["collections/skin"]
    status = reader.admin.GetStatus(admin_pb2.GetStatusRequest())
    assert (status.collection_count, status.slide_count) == (1, 1)
    for call in (
        other.get,
        other.held,
        lambda: other.search(random_codes(1)),
        lambda: reader.add("S2", random_codes(2)),
        lambda: reader.slides.DeleteSlide(slides_pb2.DeleteSlideRequest(name=reader.name("S1"))),
        lambda: reader.admin.ListSnapshots(admin_pb2.ListSnapshotsRequest()),
    ):
        assert refusal(call).code is grpc.StatusCode.PERMISSION_DENIED
    assert held(admin) == ["collections/skin", "collections/breast"]


def test_a_refusal_names_caller_permission_collection_and_cure(
    service: ServiceProcess, channel: grpc.Channel, admin: Calls
):
    key = known(service, channel, "scanner", "writer", "br*")
    found = refusal(lambda: Calls(showing(channel, key), "skin").add("S9", random_codes(9)))
    assert found.code is grpc.StatusCode.PERMISSION_DENIED
    assert found.info.reason == "PERMISSION_DENIED"
    assert dict(found.info.metadata) == {
        "identity": "key:scanner",
        "permission": "writer",
        "collection": "collections/skin",
    }
    assert "keys create NAME --role writer --collection 'skin'" in found.message
    assert admin.held() == ["S1"]


def test_a_collection_that_is_not_there_is_told_apart_only_by_those_who_may_read_it(
    service: ServiceProcess, channel: grpc.Channel, admin: Calls
):
    key = known(service, channel, "curious", "reader", "skin")
    found = refusal(Calls(showing(channel, key), "none").get)
    assert found.code is grpc.StatusCode.PERMISSION_DENIED
    assert refusal(Calls(admin.channel, "none").get).code is grpc.StatusCode.NOT_FOUND


def test_erasing_a_patient_everywhere_needs_an_admin_of_all(
    service: ServiceProcess, channel: grpc.Channel, admin: Calls
):
    key = known(service, channel, "skin-admin", "admin", "skin")
    local = Calls(showing(channel, key), "skin")

    def erase(parent: str) -> list[str]:
        request = slides_pb2.DeletePatientRequest(parent=parent, patient_id="P-none")
        return list(local.slides.DeletePatient(request).deleted_slides)

    assert erase("collections/skin") == []
    found = refusal(lambda: erase("collections/-"))
    assert found.info.metadata["collection"] == "all collections"


def test_a_stream_without_its_header_is_refused_before_anything_is_read(
    service: ServiceProcess, channel: grpc.Channel, admin: Calls
):
    key = known(service, channel, "hasty", "writer", "skin")
    writer = Calls(showing(channel, key), "skin")
    messages = list(writer.additions("S5", random_codes(5)))[1:]
    found = refusal(lambda: writer.slides.AddSlide(iter(messages)))
    assert (found.code, found.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["header"])


def test_a_revoked_key_opens_nothing_a_moment_later(
    service: ServiceProcess, channel: grpc.Channel, admin: Calls
):
    key = known(service, channel, "leaver", "reader")
    calls = Calls(showing(channel, key), "skin")
    said, _ = run_keys(service, "revoke", "leaver")
    assert key.split("_")[1] in said

    until(lambda: refusal(calls.get))
    assert refusal(calls.get).info.reason == "API_KEY_REVOKED"


def test_a_key_that_the_command_makes_opens_the_service(
    service: ServiceProcess, channel: grpc.Channel, admin: Calls
):
    key, told = run_keys(service, "create", "made", "--role", "reader", "--expires-days", "30")
    until(Calls(showing(channel, key.strip()), "skin").get)
    assert "reader of *, expires" in told


def test_a_key_past_its_time_opens_nothing(
    service: ServiceProcess, channel: grpc.Channel, admin: Calls
):
    file = KeyFile(service.folder / "store-access")
    past = datetime.now(UTC) - timedelta(seconds=1)
    _, key = file.create("late", [Grant(Role.READER, "*")], expire_time=past)
    known(service, channel, "later", "reader")
    assert refusal(Calls(showing(channel, key)).get).info.reason == "API_KEY_EXPIRED"


def test_a_torn_file_of_keys_closes_no_door_and_is_reported(
    service: ServiceProcess, channel: grpc.Channel, admin: Calls
):
    file = service.folder / "store-access" / "keys.json"
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole[:-10], encoding="utf-8")
    end = time.monotonic() + 30
    while "api keys unreadable" not in service.log.read_text(encoding="utf-8"):
        assert time.monotonic() < end
        time.sleep(0.05)
    admin.get()
    assert "is no file of keys" in run_keys(service, "list", fails=True)[1]
    file.write_text(whole, encoding="utf-8")
    known(service, channel, "after", "reader")


def test_the_list_shows_whose_keys_there_are_and_when_they_were_used(
    service: ServiceProcess, channel: grpc.Channel, admin: Calls
):
    used = create_key(service, "used", "reader", "skin", "breast")
    create_key(service, "unused", "admin")
    until(Calls(showing(channel, used), "skin").get)
    service.stop()
    listed, _ = run_keys(service, "list")
    lines = {line.split()[1]: line for line in listed.splitlines()}
    assert "skin,breast" in lines["used"]
    assert not lines["used"].endswith("never")
    assert lines["unused"].split()[2:5] == ["active", "admin", "*"]
    assert lines["unused"].endswith("never")
    service.start()


def test_secrets_are_nowhere_but_in_what_the_command_prints(service: ServiceProcess):
    key = create_key(service, "secret", "reader")
    folder = service.folder / "store-access"
    kept = b"".join(file.read_bytes() for file in folder.iterdir()) + service.log.read_bytes()
    assert key.rpartition("_")[2].encode() not in kept
    for file in folder.glob("*.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("create", "a b", "--role", "reader"), "cannot name a key"),
        (("create", "x", "--role", "reader", "--collection", "a/b"), "names no collections"),
        (("create", "x", "--role", "owner"), "owner"),
        (("revoke", "nobody"), "there is no key 'nobody'"),
    ],
)
def test_a_mistake_of_the_administrator_is_named(
    service: ServiceProcess, arguments: tuple[str, ...], wanted: str
):
    assert wanted in run_keys(service, *arguments, fails=True)[1]


def test_of_two_keys_of_one_name_either_is_revoked_by_its_id(service: ServiceProcess):
    first, second = (create_key(service, "twin", "reader") for _ in range(2))
    assert "name one by its id" in run_keys(service, "revoke", "twin", fails=True)[1]
    run_keys(service, "revoke", first.split("_")[1])
    assert second.split("_")[1] in run_keys(service, "revoke", "twin")[0]


def test_a_nest_is_no_file_of_keys() -> None:
    with pytest.raises(ValueError, match="recursion"):
        parse(b"[" * 100_000 + b"]" * 100_000)
