"""Every fault there is."""

from __future__ import annotations

from tests.chaos.fault import Fault
from tests.chaos.faults_certificate import CertificateMixedUp, CertificateReplaced
from tests.chaos.faults_client import ClientStalls
from tests.chaos.faults_clock import ClockJumps
from tests.chaos.faults_disk import DiskFull
from tests.chaos.faults_network import CableOut, NetworkSilent, TritonUnreachable
from tests.chaos.faults_process import (
    ServiceDrained,
    ServiceFrozen,
    ServiceKilled,
    TritonFrozen,
    TritonKilled,
)

FAULTS: tuple[type[Fault], ...] = (
    ServiceKilled,
    ServiceDrained,
    ServiceFrozen,
    TritonKilled,
    TritonFrozen,
    TritonUnreachable,
    CableOut,
    NetworkSilent,
    DiskFull,
    ClockJumps,
    CertificateReplaced,
    CertificateMixedUp,
    ClientStalls,
)
