"""TLS and mutual TLS on real sockets; certificates replaced while the service runs."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from tests.integration.access.certificates import Authority
from tests.integration.access.keys import create_key, refusal, showing
from tests.service_calls import Calls
from tests.service_process import ServiceProcess, eventually

GRANTS = [
    {"identity": "cert:scanner-*", "role": "writer", "collections": ["skin"]},
    {"identity": "cert:root", "role": "admin", "collections": ["*"]},
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("certificates"))
    made.issue()
    return made


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[ServiceProcess]:
    """A service that is encrypted, and asks nobody who they are."""
    settings = {"tls": authority.server_settings}
    with ServiceProcess(
        tmp_path_factory.mktemp("service"), settings, credentials=authority.channel()
    ) as running:
        yield running


@pytest.fixture(scope="module")
def mutual(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[ServiceProcess]:
    """A service that knows its callers by their certificates."""
    settings = {
        "tls": {**authority.server_settings, "client_ca_file": str(authority.ca_file)},
        "access": {"required": True, "grants": GRANTS},
    }
    root = authority.channel(authority.issue("client", common_name="root"))
    with ServiceProcess(tmp_path_factory.mktemp("service"), settings, credentials=root) as running:
        yield running


def presented(service: ServiceProcess) -> str:
    """The certificate that a new connection gets, as PEM."""
    host, port = service.url.split(":")
    return ssl.get_server_certificate((host, int(port)))


def expiry(service: ServiceProcess, which: str = "server") -> float:
    return service.metric(f'slidekin_certificate_expiry_timestamp_seconds{{certificate="{which}"}}')


def test_calls_travel_encrypted_and_plain_ones_are_not_answered(service: ServiceProcess):
    with service.channel() as channel:
        Calls(channel).create()
    with grpc.insecure_channel(service.url) as channel:
        found = refusal(lambda: Calls(channel, timeout_s=5).get())
    assert found.code is grpc.StatusCode.UNAVAILABLE


def test_a_new_certificate_counts_for_new_connections_without_a_restart(
    service: ServiceProcess, authority: Authority
):
    before, until = presented(service), expiry(service)
    with service.channel() as old:
        Calls(old).create()
        authority.issue(days=60)
        eventually(lambda: presented(service) != before)
        assert Calls(old).get().name == "collections/test"
    with service.channel() as new:
        assert Calls(new).get().name == "collections/test"
    assert expiry(service) == pytest.approx(until + 30 * 86400, abs=3600)


@pytest.mark.parametrize(
    ("break_it", "wanted"),
    [
        (lambda a: (a.folder / "server.pem").write_text("no certificate"), "holds no certificate"),
        (lambda a: (a.folder / "server.key").write_text("no key"), "holds no private key"),
        (lambda a: (a.folder / "server.key").unlink(), "cannot be read"),
        (
            lambda a: (a.folder / "server.key").write_bytes(a.issue("x").private_key_pem.bytes()),
            "is not the key of",
        ),
        (lambda a: a.issue(days=-1), "has expired, and the one in use has not"),
    ],
)
def test_a_broken_new_certificate_leaves_the_old_one_in_use_and_is_reported(
    service: ServiceProcess,
    authority: Authority,
    break_it: Callable[[Authority], object],
    wanted: str,
):
    before = presented(service)
    break_it(authority)
    eventually(lambda: wanted in service.log.read_text(encoding="utf-8"))
    assert "new certificates cannot be used" in service.log.read_text(encoding="utf-8")
    assert presented(service) == before
    authority.issue()
    eventually(lambda: presented(service) != before)


def test_a_broken_certificate_at_the_start_is_a_clear_refusal(tmp_path: Path):
    authority = Authority(tmp_path / "certificates")
    authority.issue()
    (authority.folder / "server.key").write_text("no key", encoding="utf-8")
    service = ServiceProcess(tmp_path / "service", {"tls": authority.server_settings})
    with pytest.raises(RuntimeError, match=r"server\.key holds no private key that can be used"):
        service.start()
    service.__exit__()


def test_clients_are_known_by_their_certificates(mutual: ServiceProcess, authority: Authority):
    scanner = authority.channel(authority.issue("scanner", common_name="scanner-3"))
    stranger = authority.channel(authority.issue("stranger", common_name="stranger"))
    with mutual.channel() as root, mutual.channel(scanner) as writer:
        Calls(root, "skin").create()
        assert Calls(writer, "skin").held() == []
        found = refusal(Calls(writer, "breast").create)
        assert found.code is grpc.StatusCode.PERMISSION_DENIED
        assert found.info.metadata["identity"] == "cert:scanner-3"
    with mutual.channel(stranger) as channel:
        found = refusal(Calls(channel, "skin").get)
        assert found.info.metadata["identity"] == "cert:stranger"


def test_clients_may_be_known_by_the_first_alternative_name(tmp_path: Path, authority: Authority):
    grants = [{"identity": "cert:root.example", "role": "admin", "collections": ["*"]}]
    named = {"certificate_name": "alternative_name", "grants": grants}
    settings = {
        "tls": {**authority.server_settings, "client_ca_file": str(authority.ca_file)},
        "access": {"required": True, **named},
    }
    # What its subject says does not count.
    root = authority.ca.issue_cert("root.example", "scanner.example", common_name="stranger")
    other = authority.ca.issue_cert("scanner.example", "root.example", common_name="root.example")
    shown = authority.channel(root)
    with ServiceProcess(tmp_path, settings, credentials=shown) as service:
        with service.channel() as channel:
            Calls(channel).create()
        with service.channel(authority.channel(other)) as channel:
            found = refusal(Calls(channel).get)
        assert found.info.metadata["identity"] == "cert:scanner.example"


def test_a_key_counts_before_the_certificate(mutual: ServiceProcess, authority: Authority):
    key = create_key(mutual, "lab", "reader", "skin")
    with mutual.channel() as channel:
        calls = Calls(showing(channel, key), "skin")

        def known() -> bool:
            return refusal(calls.create).info.metadata["identity"] == "key:lab"

        eventually(known)


def test_without_a_certificate_that_is_vouched_for_there_is_no_connection(
    mutual: ServiceProcess, authority: Authority, tmp_path: Path
):
    other = Authority(tmp_path / "other")
    forged = other.issue(common_name="root")
    credentials = grpc.ssl_channel_credentials(
        authority.ca.cert_pem.bytes(),
        forged.private_key_pem.bytes(),
        forged.cert_chain_pems[0].bytes(),
    )
    for shown in (authority.channel(), credentials):
        with mutual.channel(shown) as channel:
            found = refusal(lambda channel=channel: Calls(channel, timeout_s=5).get())
            assert found.code is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_without_a_name_is_nobody(mutual: ServiceProcess, authority: Authority):
    with mutual.channel(authority.channel(authority.issue("unnamed"))) as channel:
        found = refusal(Calls(channel).get)
    assert (found.code, found.info.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "CERTIFICATE_UNNAMED",
    )
    assert expiry(mutual, "client_ca") > time.time()


def test_a_service_that_is_open_to_strangers_warns_at_every_start(tmp_path: Path):
    # An address of loopback that is not taken for one.
    listen = {"host": "::ffff:127.0.0.1", "port": 0}
    service = ServiceProcess(tmp_path, {"listen": listen, "insecure": True})
    for start in (1, 2):
        with service:
            pass
        log = service.log.read_text(encoding="utf-8")
        assert log.count("calls travel unencrypted") == start
        assert log.count("nobody is asked who they are") == start
    refused = ServiceProcess(tmp_path, {"listen": listen})
    with pytest.raises(RuntimeError, match="set insecure to true"):
        refused.start()
    refused.__exit__()
