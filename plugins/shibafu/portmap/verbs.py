"""ADD, CHECK, DEL, GC and STATUS: interpretations of what a publication is made of."""

from shibafu.cni.config import parse_valid_attachments
from shibafu.cni.errors import CHECK_FAILED, FIREWALL, INVALID_CONFIG, CniError
from shibafu.cni.names import IPTABLES, calc_host_veth
from shibafu.lean.ip import Cidr, parse_cidr
from shibafu.netfilter.backend import choose_backend
from shibafu.portmap.chosen import choose_ports, find_chosen
from shibafu.portmap.config import PortmapConfig
from shibafu.portmap.lost import may_be_lost, remove_lost
from shibafu.portmap.plan import plan_answers, plan_publication, remove_publication
from shibafu.portmap.publication import Publication, calc_label
from shibafu.portmap.reference_ports import ReferenceHostPorts, ReferencePorts
from shibafu.portmap.register import Register
from shibafu.resource.base import check_resources
from shibafu.resource.identity import identify_netns
from shibafu.resource.netns import Netns
from shibafu.resource.obstacles import find_missing_program
from shibafu.resource.records import NetworkState
from shibafu.resource.teardown import Teardown
from shibafu.resource.transaction import Transaction
from shibafu.resource.view import open_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request
    from shibafu.cni.result import Result
    from shibafu.resource.base import Resource


def add(request: "Request") -> dict[str, object]:
    """Publish the container's ports, and return what the plugins before have answered.

    Where ports were chosen, the answer tells under `portMappings` which.

    Raises:
        CniError: why it could not be done; nothing of it is left.
    """
    config = PortmapConfig(request)
    previous = config.previous
    if previous is None:
        raise CniError(
            INVALID_CONFIG, "must be called as chained plugin", "put it after a plugin that assigns addresses"
        )
    if not config.mappings:
        return previous.to_json(request.cni_version)
    publication = _publish(request, config, previous)
    obstacle = _find_obstacle(publication.backend, request)
    if obstacle is not None:
        # Before anything is registered, which could not be removed without the program, either.
        raise CniError(FIREWALL, obstacle.msg, obstacle.details)
    is_chosen = any(not one.first for one in publication.mappings)
    with Register() as register, open_view() as view, _Container(request) as netns:
        if not register.is_found:
            register.is_complete = not may_be_lost()
        former = register.find(publication.key)
        if former is not None:
            # What a call left that was killed, or that nobody has detached.
            remove_publication(former, register, request.env)
        else:
            _open_reference(request).remove(request.network, request.container_id)
        choose_ports(publication, register.list)
        with Transaction(view) as transaction:
            plan = plan_publication(publication, register, request.env)
            plan += plan_answers(publication, request.ifname, netns, previous)
            transaction.ensure_unless_paused(plan, NetworkState(request.network))
    if is_chosen:
        previous.port_mappings = [one.to_json() for one in publication.mappings]
    return previous.to_json(request.cni_version)


def check(request: "Request") -> None:
    """Verify that everything published still is.

    Raises:
        CniError: CHECK_FAILED and what is wrong.
    """
    config = PortmapConfig(request)
    previous = config.previous
    if previous is None:
        raise CniError(INVALID_CONFIG, "Required prevResult missing", "CHECK needs the result of ADD")
    if not config.mappings:
        return
    publication = _publish(request, config, previous)
    with Register() as register, open_view() as view, _Container(request) as netns:
        known = register.find(publication.key)
        for mapping in publication.mappings:
            if mapping.first:
                continue
            chosen = find_chosen(mapping, known.mappings if known is not None else [])
            if chosen is None:
                what = f"container port {mapping.target}/{mapping.protocol} is not published"
                raise CniError(CHECK_FAILED, what, "attach the container again")
            mapping.first = chosen.first
        plan: list[Resource]
        reference = _open_reference(request)
        if known is None and reference.has_chain(request.network, request.container_id):
            plan = [ReferenceHostPorts(publication, reference)]
        else:
            plan = plan_publication(publication, register, request.env)
            plan += plan_answers(publication, request.ifname, netns, previous)
        check_resources(plan, view)


def delete(request: "Request") -> None:
    """Remove what the attachment publishes, whatever the configuration now says.

    Raises:
        CniError: everything that could not be removed.
    """
    key = calc_host_veth(request.network, request.container_id, request.ifname)
    with Register() as register:
        publication = register.find(key)
        teardown = Teardown()
        if publication is not None:
            with _Container(request) as netns:
                teardown.remove(plan_answers(publication, request.ifname, netns))
            teardown.do(remove_publication, publication, register, request.env)
            teardown.finish()
            return
        if not register.is_complete:
            teardown.do(remove_lost, request, lambda one, _: one == key)
        teardown.do(_open_reference(request).remove, request.network, request.container_id)
        teardown.finish()


def collect_garbage(request: "Request") -> None:
    """Remove what attachments publish that the runtime no longer lists.

    Raises:
        CniError: everything that could not be removed.
    """
    valid = parse_valid_attachments(request.config)
    if valid is None:
        return
    keep = {calc_host_veth(request.network, *owner) for owner in valid}
    teardown = Teardown()
    with Register() as register:
        subnets = _find_subnets(request.network, register)
        for one in register.list():
            if one.network == request.network and one.key not in keep:
                teardown.do(remove_publication, one, register, request.env)
        if not register.is_complete:
            teardown.do(
                remove_lost,
                request,
                lambda key, label: label == calc_label(request.network) and key not in keep,
            )
        containers = {container_id for container_id, _ in valid}
        teardown.do(_open_reference(request, True).remove_besides, request.network, containers, subnets)
    teardown.finish()


def status(request: "Request") -> None:
    """Answer nothing when ADD would work.

    Raises:
        CniError: NOT_AVAILABLE and what is missing.
    """
    config = PortmapConfig(request)
    obstacle = _find_obstacle(choose_backend(config.backend, request.env), request)
    if obstacle is not None:
        raise obstacle


def _find_obstacle(backend: str, request: "Request") -> CniError | None:
    if backend == IPTABLES:
        program, advice = "iptables-restore", 'install iptables, or set "backend" to nftables'
    else:
        program, advice = "nft", "install nftables"
    return find_missing_program(program, request.env, advice)


class _Container:
    """The container's namespace, open in a `with` block; None where it is gone."""

    __slots__ = ("_netns",)

    def __init__(self, request: "Request") -> None:
        try:
            self._netns: Netns | None = Netns(request.netns)
        except OSError:
            self._netns = None

    def __enter__(self) -> "Netns | None":
        return self._netns

    def __exit__(self, *exception: object) -> None:
        if self._netns is not None:
            self._netns.close()


def _open_reference(request: "Request", has_ports: bool = False) -> ReferencePorts:
    stated = request.config.get("runtimeConfig")
    return ReferencePorts(request.env, has_ports or bool(isinstance(stated, dict) and stated))


def _find_subnets(network: str, register: Register) -> list[Cidr]:
    """Return a network's subnets, as far as what shibafu has made for its containers names them."""
    published = [one.targets.values() for one in register.list() if one.network == network]
    subnets = [target.network for targets in published for target in targets]
    stated = NetworkState(network).read_rules().get("subnets")
    try:
        return subnets + [parse_cidr(str(text)) for text in (stated if isinstance(stated, list) else ())]
    except ValueError:
        return subnets  # somebody has written into the record


def _publish(request: "Request", config: PortmapConfig, previous: "Result") -> Publication:
    owner = request.network, request.container_id, request.ifname
    backend = choose_backend(config.backend, request.env)
    identity = identify_netns(request.netns)
    return Publication.of_config(config, owner, backend, config.find_targets(previous), identity)
