"""Makes every node of a graph reachable, wherever a search comes down to the ground level.

Theory of operation
-------------------
Building prunes links: a node keeps the neighbours that lie in different directions, and who is
nobody's choice (a point far from all others, one of many equal points) may end without a link that
leads to it. No search finds it then, however wide. So after a build the ground level is walked from
the entry over all links. The links by which nodes were met first make a tree; while that stays,
everything that was met stays reachable. Each node that was not met gets a link from one that was:
from a neighbour that it chose itself where possible, in an empty place or in that of a link outside
the tree, to the node that most others lead to.

A search may come down somewhere else than at the entry's node. So the same is done the other way
round: of nodes that lead nowhere but to each other (a heap of equal points), one that has a place
to spare gets a link to the nearest of its forebears in the tree that leads back to the root. Below
a node without such a place there is always one with: a leaf of the tree has no links in it.

Usually nothing is to be done, and the walk is all: a fraction of a second for 100,000 nodes, beside
minutes of building.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.types import I64, U32
from app.vectors.graph import NONE, Graph

Nearest = Callable[[int, I64], int]
"""Of nodes int64[any ≥ 1], the nearest to a node."""


def connected(graph: Graph, nearest: Nearest) -> Graph:
    """Give a graph whose ground level every walk meets whole, from any node.

    graph     links uint32[nodes, 2m], of at least two columns
    nearest   decides where nodes are hung up that lead nowhere but to each other
    """
    walked = _Walk(np.array(graph.links, dtype=np.uint32))
    root = _ground(graph)
    walked.spread(root)
    links = walked.links
    while not walked.reached.all():
        linked = False
        for node in np.flatnonzero(~walked.reached).tolist():
            if walked.reached[node]:  # through one that was linked just now
                continue
            chosen = links[node][links[node] != NONE].astype(np.int64)
            hosts = chosen[walked.reached[chosen]]
            hosts = hosts[walked.spare(hosts)]
            if hosts.size:
                walked.link(int(hosts[0]), node)
                linked = True
        if not linked:  # what is left leads nowhere but to each other, or to full nodes
            node = int(np.argmin(walked.reached))
            hosts = np.flatnonzero(walked.reached)
            walked.link(nearest(node, hosts[walked.spare(hosts)]), node)
    walked.lead_back(root)
    return replace(graph, links=links) if walked.changed else graph


def _ground(graph: Graph) -> int:
    """Follow the entry down to its node."""
    at = graph.entry
    for _ in range(graph.levels):
        at = int(graph.upper_down[at])
    return at


class _Walk:
    """What has been met of a graph, and by which links.

    links     uint32[nodes, 2m], changed in place
    reached   bool[nodes]
    changed   whether a link was made
    """

    def __init__(self, links: U32) -> None:
        nodes = links.shape[0]
        self.links = links
        self.reached = np.zeros(nodes, dtype=np.bool_)
        self.changed = False
        self._parent = np.zeros(nodes, dtype=np.int64)
        self._tree = np.zeros(links.shape, dtype=np.bool_)
        self._popular = np.bincount(links[links != NONE].astype(np.int64), minlength=nodes)

    def spread(self, start: int) -> None:
        """Meet a node, and everything that links lead to from it."""
        width = self.links.shape[1]
        self.reached[start] = True
        front = np.array([start])
        while front.size:
            met, at = np.unique(self.links[front], return_index=True)
            new = met != NONE
            new[new] = ~self.reached[met[new]]
            hosts = front[at[new] // width]
            self._tree[hosts, at[new] % width] = True
            front = met[new].astype(np.int64)
            self._parent[front] = hosts
            self.reached[front] = True

    def spare(self, hosts: I64) -> NDArray[np.bool_]:
        """Tell which nodes have a place that is empty or outside the tree: bool[hosts]."""
        full: NDArray[np.bool_] = np.all(self._tree[hosts], axis=1)
        return ~full

    def link(self, host: int, node: int) -> None:
        """Let a node that was met lead to one that was not, and meet what that leads to."""
        self._tree[host, self._put(host, node)] = True
        self._parent[node] = host
        self.spread(node)

    def lead_back(self, root: int) -> None:
        """Let every node lead to the root, from which all have been met."""
        sources, _ = np.nonzero(self.links != NONE)
        targets = self.links[self.links != NONE]
        order = np.argsort(targets, kind="stable")
        sources, targets = sources[order], targets[order]
        starts = np.searchsorted(targets, np.arange(len(self.links) + 1))
        back = np.zeros(len(self.links), dtype=np.bool_)

        def spread_back(start: int) -> None:
            back[start] = True
            front = np.array([start])
            while front.size:
                met = [sources[starts[one] : starts[one + 1]] for one in front.tolist()]
                front = np.unique(np.concatenate(met))
                front = front[~back[front]]
                back[front] = True

        spread_back(root)
        lost = np.flatnonzero(~back)
        for node in lost[self.spare(lost)].tolist():
            if back[node]:  # through one that was linked just now
                continue
            forebear = int(self._parent[node])
            while not back[forebear]:
                forebear = int(self._parent[forebear])
            self._put(node, forebear)
            spread_back(node)

    def _put(self, host: int, node: int) -> int:
        """Write a link where it does least harm; returns its column."""
        self.changed = True
        row = self.links[host]
        if row[-1] == NONE:
            at = int(np.argmax(row == NONE))
        else:
            loose = np.flatnonzero(~self._tree[host])
            at = int(loose[np.argmax(self._popular[row[loose].astype(np.int64)])])
            self._popular[row[at]] -= 1
        row[at] = node
        return at
