"""One client and several services: taken in turns, left out where away; old connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service_process import ServiceProcess

from slidekin import Client, Retry
from slidekin._transport import channel_options, dialled
from slidekin._types import Tls

ANSWERED = 'slidekin_rpcs_total{code="OK",method="/slidekin.v1.AdminService/GetStatus"}'


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServiceProcess]]:
    folder: Path = tmp_path_factory.mktemp("replicas")
    young = {"listen": {"max_connection_age_s": 0.5, "max_connection_age_grace_s": 5.0}}
    with (
        ServiceProcess(folder / "a", young) as first,
        ServiceProcess(folder / "b", young) as second,
    ):
        yield [first, second]


def test_replicas_answer_in_turns_and_one_that_is_away_is_left_out(
    replicas: list[ServiceProcess],
) -> None:
    target = ",".join(replica.url for replica in replicas)
    with Client(target) as client:
        for _ in range(40):
            client.status()
        assert all(replica.metric(ANSWERED) >= 5 for replica in replicas)
        replicas[0].kill()
        for _ in range(20):
            client.status()
        replicas[0].start()


def test_a_connection_that_has_grown_old_is_left_without_a_failure(
    replicas: list[ServiceProcess],
) -> None:
    with Client(replicas[1].url, retry=Retry(attempts=1)) as client:
        started = client.status().start_time
        for _ in range(300):
            assert client.status().start_time == started


def test_a_list_of_replicas_is_looked_up_and_what_cannot_be_is_told() -> None:
    assert dialled("127.0.0.1:1,127.0.0.1:2") == "ipv4:127.0.0.1:1,127.0.0.1:2"
    assert dialled("[::1]:1,[::1]:2") == "ipv6:[::1]:1,[::1]:2"
    assert dialled("dns:///service:50051") == "dns:///service:50051"
    assert dialled("service:50051") == "service:50051"
    with pytest.raises(ValueError, match="host:port"):
        dialled("127.0.0.1:1,second")
    with pytest.raises(ValueError, match="no-such-host"):
        dialled("no-such-host.invalid:1,no-such-host.invalid:2")


def test_certificates_are_checked_by_the_name_of_the_first_replica_of_a_list() -> None:
    override = ("grpc.ssl_target_name_override", "one")
    assert override in channel_options("one:1,two:1", Tls())
    assert override not in channel_options("one:1", Tls())
