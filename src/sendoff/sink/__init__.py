"""
A local stand-in for both vendors, in a process of its own.

It takes what the vendors document, refuses what they would refuse, misbehaves by script and counts
everything, so that a test can ask what arrived rather than what was sent. Importing it imports no
server.
"""

from sendoff.sink.client import SinkProcess
from sendoff.sink.faults import Fault, Kind
from sendoff.sink.grammar import parse_fault
from sendoff.sink.launch import run
from sendoff.sink.settings import Settings, add_arguments, settings_from
from sendoff.sink.stats import Stats, VendorStats

__all__ = [
    "Fault",
    "Kind",
    "Settings",
    "SinkProcess",
    "Stats",
    "VendorStats",
    "add_arguments",
    "parse_fault",
    "run",
    "settings_from",
]
