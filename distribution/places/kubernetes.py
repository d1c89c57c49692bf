"""Kubernetes' Indexed Jobs, and the JobSets that are made of them.

Such a Pod has its index in JOB_COMPLETION_INDEX and is called after it, and with a headless service as its subdomain
the others find it by that name, which kubelet writes into /etc/hosts. How many Pods the Job has is written nowhere in
a Pod. Of a JobSet a Pod knows what its manifest maps from annotations, by these names in what people write.
"""

from __future__ import annotations

from . import machine, values
from .place import Environ, Found, Read, Said

_INDEX = "JOB_COMPLETION_INDEX"
_JOB = "JOB_INDEX"
_PODS_PER_JOB = "PROCESSES_IN_JOB"
_ADVICE = (
    "a Pod isn't told how many the Job has, so set REGIMENT_NODES to the Job's 'completions', and make a headless "
    "service the Pod's 'subdomain', so that the others find node 0 by its name"
)


def kubernetes(environ: Environ, read: Read) -> Found | None:
    """Read the place of an Indexed Job's Pod, in a JobSet or without one."""
    if _INDEX not in environ:
        return None
    index = values.whole(environ, _INDEX)
    if _JOB in environ or "JOBSET_NAME" in environ:
        return _jobset(environ, read, index)
    said = [values.rank(str(index), _INDEX)]
    name = machine.own_name(environ, read) or ""
    base = name.removesuffix(f"-{index}")
    if base == name:
        # On the host's network a Pod is called as its host.
        return Found("Kubernetes Indexed Job", tuple(said), None, _ADVICE)
    full = machine.full_name(name, read)
    if full is not None:
        said.append(values.host(f"{base}-0{full.removeprefix(name)}", "HOSTNAME and /etc/hosts"))
    return Found("Kubernetes Indexed Job", tuple(said), base, _ADVICE)


def _jobset(environ: Environ, read: Read, index: int) -> Found:
    said: list[Said] = []
    job = values.whole(environ, _JOB) if _JOB in environ else 0
    if _PODS_PER_JOB in environ:
        pods = values.whole(environ, _PODS_PER_JOB)
        said.append(values.rank(str(job * pods + index), f"{_JOB}, {_PODS_PER_JOB} and {_INDEX}"))
    elif job == 0:
        said.append(values.rank(str(index), _INDEX))
    name, own = environ.get("JOBSET_NAME"), environ.get("REPLICATED_JOB_NAME")
    if name and own:
        said.append(values.host(f"{name}-{own}-0-0.{name}", "JOBSET_NAME and REPLICATED_JOB_NAME"))
    elif (full := _first_pod(environ, read, job, index)) is not None:
        said.append(values.host(full, "HOSTNAME and /etc/hosts"))
    advice = "set REGIMENT_NODES to the number of Pods"
    if job:
        advice += f", and {_PODS_PER_JOB} to each Job's 'completions'"
    return Found("Kubernetes JobSet", tuple(said), name, advice)


def _first_pod(environ: Environ, read: Read, job: int, index: int) -> str | None:
    name = machine.own_name(environ, read) or ""
    base = name.removesuffix(f"-{job}-{index}")
    full = machine.full_name(name, read) if base != name else None
    return None if full is None else f"{base}-0-0{full.removeprefix(name)}"
