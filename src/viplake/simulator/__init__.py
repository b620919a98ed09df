"""The vendor as an HTTP server with switchable faults, and a generator of lakes with a history."""

from viplake.simulator.faults import Fault, describe, parse
from viplake.simulator.server import Simulator, running, serve
from viplake.simulator.tables import ExportShape
from viplake.simulator.vendor import SimulatedJob, SimulatorSettings

__all__ = [
    "ExportShape",
    "Fault",
    "SimulatedJob",
    "Simulator",
    "SimulatorSettings",
    "describe",
    "parse",
    "running",
    "serve",
]
