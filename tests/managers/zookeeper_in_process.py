"""The few ways in which we use ZooKeeper, in one process and on virtual time: leader and journal above it are real.

What it promises is what the tests of the real one (``tests/real_parts``) hold us to: versions, transactions, sequence
numbers, watches that fire once, nodes that end with their session.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from contrail_vsphere.model.errors import AlreadyExists, Conflict, NotFound, OutcomeUnknown


@dataclass
class Node:
    value: bytes
    version: int = 0
    session: TreeSession | None = None


class Tree:
    """What all sessions see."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.sequence = 0
        self.watches: dict[str, list] = {}

    def changed(self, path: str) -> None:
        for told in self.watches.pop(path, []):
            asyncio.get_running_loop().call_soon(told)

    def create(self, path, value=b"", session=None):
        if path in self.nodes:
            raise AlreadyExists(path)
        parent = path.rpartition("/")[0]
        while parent and parent not in self.nodes:
            self.nodes[parent] = Node(b"")
            parent = parent.rpartition("/")[0]
        self.nodes[path] = Node(value, session=session)
        self.changed(path)

    def node(self, path, version=-1) -> Node:
        if path not in self.nodes:
            raise NotFound(path)
        if version not in (-1, self.nodes[path].version):
            raise Conflict(path)
        return self.nodes[path]

    def set_data(self, path, value, version=-1):
        node = self.node(path, version)
        node.value, node.version = value, node.version + 1
        self.changed(path)

    def delete(self, path, version=-1):
        self.node(path, version)
        del self.nodes[path]
        self.changed(path)

    def check(self, path, version):
        self.node(path, version)


class TreeSession:
    """One client: ``engine.zookeeper.ZooKeeper`` as its users know it. ``silent``: the server does not answer it."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._listeners = []
        self.identity = str(uuid.uuid4())
        self.state = "connected"
        self.silent = False

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.expire(told=False)

    # -- what happens to it ---------------------------------------------------------------------------------------

    def expire(self, *, told: bool = True) -> None:
        """The server gives the session up. A process that is frozen does not hear of it (``told=False``)."""
        for path in [path for path, node in self._tree.nodes.items() if node.session is self]:
            self._tree.delete(path)
        if told:
            self.tell("lost")

    def tell(self, state) -> None:
        self.state = state
        for listener in tuple(self._listeners):
            listener(state)

    # -- what its users do ----------------------------------------------------------------------------------------

    def listen(self, listener):
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def connected(self):
        while self.state != "connected":  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.5)

    async def create(self, path, value=b"", *, ephemeral=False, sequence=False):
        await self._answered()
        if sequence:
            self._tree.sequence += 1
            path = f"{path}{self._tree.sequence:010d}"
        self._tree.create(path, value, self if ephemeral else None)
        return path

    async def get(self, path):
        await self._answered()
        node = self._tree.node(path)
        return node.value, node.version

    async def set(self, path, value, *, version=-1):
        await self._answered()
        self._tree.set_data(path, value, version)
        return self._tree.nodes[path].version

    async def delete(self, path, *, version=-1):
        await self._answered()
        self._tree.delete(path, version)

    async def children(self, path):
        await self._answered()
        return [each.rpartition("/")[2] for each in self._tree.nodes if each.rpartition("/")[0] == path]

    async def exists(self, path, *, changed=None):
        await self._answered()
        if changed is not None:
            self._tree.watches.setdefault(path, []).append(changed)
        return path in self._tree.nodes

    async def commit(self, operations):
        await self._answered()
        for verb, (path, *rest) in operations:
            if verb == "create" and path in self._tree.nodes:
                raise AlreadyExists(path)
            if verb in ("set_data", "check", "delete"):
                self._tree.node(path, rest[-1])
        for verb, arguments in operations:
            getattr(self._tree, verb)(*arguments)

    async def _answered(self):
        await asyncio.sleep(0.005)
        if self.silent:
            await asyncio.sleep(5.0)
            raise OutcomeUnknown("ZooKeeper does not answer")
