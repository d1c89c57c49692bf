"""How many nodes and processes: `distribution`, `resources` and `compute`, which depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .checks import MOST_PROCESSES, check_count, check_process_total, check_tasks
from .complaints import named
from .dataclass import replace
from .errors import UserError
from .fields import checked, dropped, not_used, text, whole_number, yes_or_no
from .options import is_elastic
from .reading import Key, Reader, Reading, Table, Value
from .shapes import either, entries_of, section, tagged
from .spec import Distribution, Mpi, Plain, PyTorch, Ray, TensorFlow
from .tree import Scalar


def _check_servers(count: int) -> int:
    if count < 0:
        raise UserError(f"expected 0 or more, found {count}")
    return check_count(count) if count else 0


def _read_instance_count(value: Value, reading: Reading) -> int:
    if isinstance(value.tree, Scalar) and is_elastic(value.tree.text):
        hint = f'for elastic nodes write regiment: {{nodes: "{value.tree.text}"}}'
        raise UserError(f"expected a whole number, found {value.tree.text}; {hint}")
    count: int = COUNT(value, reading)
    return count


COUNT: Reader = checked(whole_number, check_count, minimum=1, maximum=MOST_PROCESSES)
_INSTANCE_COUNT = Reader(_read_instance_count, COUNT.schema)
_SERVERS: Reader = checked(whole_number, _check_servers, minimum=0, maximum=MOST_PROCESSES)
_TYPE = Key(text, "the framework")
_PYTORCH: Table = {
    "type": _TYPE,
    "process_count_per_instance": Key(COUNT, "processes on each node; without it the command starts once a node"),
    "process_count": Key(COUNT, "processes on all nodes together, in files of 2021"),
}
_MPI: Table = {"type": _TYPE, "process_count_per_instance": Key(COUNT, "processes on each node (default: 1)")}
_TENSORFLOW: Table = {
    "type": _TYPE,
    "worker_count": Key(COUNT, "workers of the whole job (default: one a node)"),
    "parameter_server_count": Key(_SERVERS, "parameter servers of the whole job (default: 0)"),
}
_RAY: Table = {
    "type": _TYPE,
    "port": Key(COUNT, "port of the head"),
    "address": Key(text, "address of a head that runs elsewhere"),
    "include_dashboard": Key(yes_or_no, "start the dashboard"),
    "dashboard_port": Key(COUNT, "port of the dashboard"),
    "head_node_additional_args": Key(text, "more arguments for `ray start --head`"),
    "worker_node_additional_args": Key(text, "more arguments for `ray start` on the other nodes"),
}
distribution: Reader = tagged(
    {"pytorch": section(_PYTORCH), "mpi": section(_MPI), "tensorflow": section(_TENSORFLOW), "ray": section(_RAY)}
)

RESOURCES: Table = {
    "instance_count": Key(_INSTANCE_COUNT, "number of nodes (default: 1)"),
    "instance_type": Key(not_used, "Azure's type of machine"),
    "shm_size": Key(not_used, "shared memory of a container"),
    "docker_args": Key(not_used, "more arguments for docker"),
    "max_instance_count": Key(not_used, "most nodes of an elastic job"),
    "instance_types": Key(not_used, is_offered=False),
    "locations": Key(not_used, "Azure's regions"),
    "properties": Key(not_used, "settings of Azure's clusters"),
}
_COMPUTE: Table = {
    "target": Key(text, "where to run"),
    "instance_count": Key(_INSTANCE_COUNT, "number of nodes"),
    "instance_type": Key(not_used, is_offered=False),
    "properties": Key(not_used, is_offered=False),
    "is_local": Key(dropped, is_offered=False),
}
compute: Reader = either("a name", single=text, mapping=section(_COMPUTE))


def read_nodes(values: Mapping[str, Any], places: Mapping[str, Value], reading: Reading) -> int:
    """Give the number of nodes, from wherever the form of the file has it."""
    in_resources = _within(values, "resources", "instance_count")
    in_compute = _within(values, "compute", "instance_count")
    if in_resources and in_compute and in_resources != in_compute:
        found = f"{in_compute} here and {in_resources} under resources"
        reading.fault(places["compute"], f"expected one instance_count, found {found}; keep the one under resources")
    nodes: int = in_resources or in_compute or 1
    elastic = _within(values, "regiment", "nodes")
    if elastic:
        fewest, most = elastic
        if (in_resources or in_compute) and nodes != most:
            found = f"{fewest}:{most} here and instance_count: {nodes}"
            reading.fault(entries_of(places["regiment"])["nodes"], f"expected one most number of nodes, found {found}")
        nodes = most
    workers = _within(values, "distribution", "worker_count")
    # "Number of workers. Overwrites the node count in compute binding." says the REST API of 2021, whose files have
    # a mapping under compute; later ones don't have this rule.
    if workers and isinstance(values.get("compute"), dict):
        if in_compute and in_compute != workers:
            reading.note(places["distribution"], f"worker_count: {workers} overrides instance_count: {in_compute}")
        nodes = workers
    return nodes


def read_distribution(
    values: Mapping[str, Any], places: Mapping[str, Value], nodes: int, reading: Reading
) -> Distribution:
    """Make the distribution of a job with so many nodes, with older counts turned into the current ones."""
    found = values.get("distribution")
    if found is None:
        return _with_more_tasks(Plain(), values, places, reading)
    place = places["distribution"]
    made = _MAKERS[found["type"].lower()](found, place, nodes, reading)
    made = _with_more_tasks(made, values, places, reading)
    if isinstance(made, (PyTorch, Mpi)):
        reading.check(place, check_process_total, nodes, made.process_count_per_instance or 1)
    elif isinstance(made, TensorFlow):
        # Without worker_count there is one worker a node.
        reading.check(entries_of(place).get("worker_count", place), check_tasks, made, nodes)
    return made


def _with_more_tasks(
    made: Distribution, values: Mapping[str, Any], places: Mapping[str, Value], reading: Reading
) -> Distribution:
    """Add the tasks of a TensorFlow job that Azure's schema does not know."""
    more = {key: bool(_within(values, "regiment", key)) for key in ("chief", "evaluator")}
    if isinstance(made, TensorFlow):
        return replace(made, chief=more["chief"], evaluator=more["evaluator"])
    for key in filter(more.get, more):
        message = f"expected only with type tensorflow; this job has {named(made)}"
        reading.fault(entries_of(places["regiment"])[key], message)
    return made


def compute_name(found: str | Mapping[str, Any] | None) -> str:
    """Give the name of what to run on; `local` where the file leaves it to others."""
    if isinstance(found, Mapping):
        found = found.get("target")
    return found or "local"


def _make_pytorch(found: Mapping[str, Any], place: Value, nodes: int, reading: Reading) -> PyTorch:
    per_node, total = found.get("process_count_per_instance"), found.get("process_count")
    if total is None:
        return PyTorch(per_node)
    count = entries_of(place)["process_count"]
    if total % nodes:
        sums = f"{total} processes over {nodes} nodes are {total / nodes:.2f} each"
        message = f"{sums}; process_count counts all nodes together: make it {nodes} times the processes of a node"
        reading.fault(count, message)
    elif per_node is not None and per_node * nodes != total:
        sums = f"{per_node} processes on each of {nodes} nodes are {per_node * nodes}, not {total}"
        reading.fault(count, f"{sums}; keep process_count_per_instance")
    return PyTorch(total // nodes)


def _make_tensorflow(found: Mapping[str, Any], _place: Value, nodes: int, _reading: Reading) -> TensorFlow:
    return TensorFlow(found.get("worker_count") or nodes, found.get("parameter_server_count") or 0)


def _make_mpi(found: Mapping[str, Any], _place: Value, _nodes: int, _reading: Reading) -> Mpi:
    return Mpi(found.get("process_count_per_instance") or 1)


def _make_ray(found: Mapping[str, Any], _place: Value, _nodes: int, _reading: Reading) -> Ray:
    return Ray(**{key: value for key, value in found.items() if key != "type"})


_Maker = Callable[[Mapping[str, Any], Value, int, Reading], Distribution]
_MAKERS: Mapping[str, _Maker] = {
    "pytorch": _make_pytorch,
    "mpi": _make_mpi,
    "tensorflow": _make_tensorflow,
    "ray": _make_ray,
}


def _within(values: Mapping[str, Any], key: str, inner: str) -> Any:
    found = values.get(key)
    return found.get(inner) if isinstance(found, Mapping) else None
