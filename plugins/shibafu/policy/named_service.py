"""Connections to ports by the names that their destinations give to these."""

from dataclasses import dataclass

from shibafu.policy.evaluation import Service
from shibafu.policy.label_syntax import require_port_name
from shibafu.policy.model import PROTOCOLS, TCP, Pod
from shibafu.policy.pod_identity import parse_named_port


@dataclass(frozen=True)
class NamedService:
    """What a connection is for, as far as its destination's names are not known.

    Args:
        protocol: one of `PROTOCOLS`.
        name: of the port.
    """

    protocol: str
    name: str

    def find(self, destination: Pod | None) -> Service:
        """Return it with the number that a destination has for it.

        Raises:
            ValueError: it has none.
        """
        if destination is None:
            raise ValueError(f'only containers give names to ports: write the number of port "{self.name}"')
        for named in destination.named_ports:
            if (named.name, named.protocol) == (self.name, self.protocol):
                return Service(self.protocol, named.port)
        known = ", ".join(f"{one.name}={one.port}/{one.protocol.lower()}" for one in destination.named_ports)
        raise ValueError(
            f'{destination.name} gives no port of {self.protocol.lower()} the name "{self.name}": '
            f"rules for that name match nothing of it; its names: {known or 'none'}"
        )


def parse_service(text: str) -> Service:
    """Return what `[PROTOCOL/]PORT` stands for.

    Raises:
        ValueError: it is not a port.
    """
    protocol, _, port = text.rpartition("/")
    try:
        number, found = parse_named_port(f"{port}/{protocol}" if protocol else port)
    except ValueError:
        raise ValueError(f'"{text}" is not a port: write one such as 80, tcp/80, udp/53 or sctp/80') from None
    return Service(found, number)


def parse_service_or_name(text: str) -> Service | NamedService:
    """Return what `[PROTOCOL/]PORT` stands for, with a number or a name.

    Raises:
        ValueError: it is neither.
    """
    protocol, _, name = text.rpartition("/")
    try:
        return parse_service(text)
    except ValueError as error:
        found = protocol.upper() if "/" in text else TCP
        try:
            if found in PROTOCOLS:
                return NamedService(found, require_port_name(name))
        except ValueError:
            pass
        raise ValueError(f"{error}; or with the name of a port, such as tcp/http") from None


def find_service(service: Service | NamedService, destination: Pod | None) -> Service:
    """Return what a connection to a destination is for.

    Raises:
        ValueError: the destination does not have the name.
    """
    return service.find(destination) if isinstance(service, NamedService) else service
