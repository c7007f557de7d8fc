"""Making the queries of an evaluation, and saying where in its request a fault of one came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.errors import InvalidQuery, LikewiseError
from app.evaluation.configurations import applied, names_members
from app.service.checks import place
from app.service.evaluation_request import Read, ToEvaluate
from app.service.requests import Query


def queries_of(read: Read, places: range, wanted: ToEvaluate) -> list[Query]:
    """Make the queries of some questions: each in every way, and exactly if that is the truth."""
    made = []
    for number in places:
        question = read.questions[number]
        for way, configuration in enumerate(read.configurations):
            at = f"/{way}/{number}"
            try:
                members = applied(configuration.members, question.members)
            except InvalidQuery as error:
                raise error.under(place("/configurations", way, "query")) from None
            members |= {"k": read.depth, "fields": read.labels, "with_text": False}
            try:
                made.append(wanted.query_of(members, at))
                if wanted.task == "ann":
                    params = {**(members.get("params") or {}), "exact": True}
                    made.append(wanted.query_of({**members, "params": params}, at))
            except LikewiseError as error:
                error.pointer = pointed(error.pointer, read, wanted)
                raise
    return made


def pointed(pointer: str | None, read: Read, wanted: ToEvaluate) -> str | None:
    """Say where in the request a member of a made query came from."""
    parts = (pointer or "").split("/")
    if len(parts) < 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        return pointer
    way, number, rest = int(parts[1]), int(parts[2]), parts[3:]
    configuration, question = read.configurations[way].members, read.questions[number].members
    name, inner = traced(configuration, rest)
    if name is not None and name in question:
        return "/".join([place("/queries", number, name), *inner])
    from_configuration = bool(rest) and rest[0] in configuration
    if rest[:2] == ["filter", "$and"] and "filter" in configuration and "filter" in question:
        from_configuration = rest[2:3] != ["1"]  # `applied` put the question's second
        rest = ["filter", *rest[3:]]
    if from_configuration and way >= read.baselines:
        return "/".join([place("/configurations", way - read.baselines, "query"), *rest])
    if wanted.sample is not None:
        return "/sample"
    if wanted.task == "conditional":
        rest = ["gallery"] if rest[:1] == ["filter"] else []
    return "/".join([place("/queries", number), *rest])


def traced(members: object, path: Sequence[str]) -> tuple[str | None, list[str]]:
    """Follow a path into members where some stand by name: the name that it comes to, if any, and
    what of the path is left within that; else the whole path."""
    at = members
    for number, part in enumerate(path):
        if isinstance(at, Mapping):
            at = at.get(part)
        elif isinstance(at, list) and part.isdigit() and int(part) < len(at):
            at = at[int(part)]
        else:
            break
        if isinstance(at, str) and names_members(at):
            return at[1:], list(path[number + 1 :])
    return None, list(path)


def place_of(wanted: ToEvaluate, way: int) -> str:
    """Say where a configuration stands; "" of the one that there is if none were given."""
    return place("/configurations", way, "query") if wanted.configurations else ""
