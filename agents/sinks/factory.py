"""The sink that a component's configuration asks for."""

from __future__ import annotations

from agents.sinks.base import Sink
from agents.sinks.sink_http import HttpSink
from agents.sinks.sink_nats import NatsSink
from streams.settings import Component, Settings
from streams.settings import HttpSink as HttpConfig
from streams.settings import NatsSink as NatsConfig


def make_sink(name: str, component: Component, settings: Settings) -> Sink | None:
    """None for a log sink: its records are written with the state, and nobody has to be reached."""
    match component.sink:
        case HttpConfig() as config:
            return HttpSink(config, connections_max=component.in_flight_max)
        case NatsConfig() as config:
            return NatsSink(name, config, settings)
        case _:
            return None
