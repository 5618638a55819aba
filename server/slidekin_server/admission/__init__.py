"""Which work is taken, in which order, and for whom it is stopped: fairness under load."""

from slidekin_server.admission.errors import (
    AdmissionError,
    DeadlinePassedError,
    DrainingError,
    Reason,
    RefusedError,
    StreamIdleError,
)
from slidekin_server.admission.gate import Gate, Kind
from slidekin_server.admission.in_flight import Held, InFlight
from slidekin_server.admission.pool import FairPool
from slidekin_server.admission.quota import Bounds
from slidekin_server.admission.ticket import Ticket, current_ticket, set_ticket
from slidekin_server.admission.turns import Turn, Turns

__all__ = [
    "AdmissionError",
    "Bounds",
    "DeadlinePassedError",
    "DrainingError",
    "FairPool",
    "Gate",
    "Held",
    "InFlight",
    "Kind",
    "Reason",
    "RefusedError",
    "StreamIdleError",
    "Ticket",
    "Turn",
    "Turns",
    "current_ticket",
    "set_ticket",
]
