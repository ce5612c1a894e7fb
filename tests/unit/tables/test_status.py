"""The aggregate of what is in step: always what a scan would count."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.model import Head, Provenance, Sync, SyncState
from tables.status import Counts, OutOfStep, Status
from tables.store import Batch, Stores

_ORIGIN = Provenance("e", "s", "t", "p", "SM_IN_p", (1, 1, 0), 1, "c")
KEYS = ["chart/a", "chart/b", "image/a"]
COMPONENTS = ["c12", "c20"]

pairs = st.builds(
    Sync,
    state=st.sampled_from(SyncState),
    since_ms=st.integers(1, 50),
    deliveries=st.integers(0, 3),
    superseded=st.integers(0, 3),
    command=st.sampled_from(["", "op-1", "op-2"]),
)
heads = st.dictionaries(st.sampled_from(COMPONENTS), pairs)
changes = st.lists(st.tuples(st.sampled_from(KEYS), st.none() | heads), max_size=12)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    stores = Stores(tmp_path_factory.mktemp("stores"))
    stores.open(0)
    yield stores
    stores.close_all()


def write(stores: Stores, key: str, sync: dict[str, Sync] | None) -> None:
    batch = Batch()
    value = None if sync is None else msgspec.json.encode(Head("1.0.0", None, 1, _ORIGIN, sync=sync))
    batch.apply("artifacts", key.encode(), value)
    stores[0].write(batch)


def clear(stores: Stores) -> None:
    for key in KEYS:
        write(stores, key, None)


def assert_counts(status: Status, state: dict[str, dict[str, Sync]]) -> None:
    for component in COMPONENTS:
        own = [(key, sync[component]) for key, sync in state.items() if component in sync]
        expected = Counts(
            in_sync=sum(pair.state is SyncState.IN_SYNC for _, pair in own),
            behind=sum(pair.state is SyncState.BEHIND for _, pair in own),
            failed=sum(pair.state is SyncState.FAILED for _, pair in own),
            deliveries=sum(pair.deliveries for _, pair in own),
            superseded=sum(pair.superseded for _, pair in own),
        )
        assert status.component(component) == expected
        out = sorted(OutOfStep(pair.since_ms, key, component) for key, pair in own if pair.state is not SyncState.IN_SYNC)
        assert status.oldest(component) == (out[0] if out else None)
    out_keys = sorted(key for key, sync in state.items() if any(pair.state is not SyncState.IN_SYNC for pair in sync.values()))
    assert [key for key, _ in status.out_of_step()] == out_keys
    for command in ("op-1", "op-2"):
        states = [pair.state for sync in state.values() for pair in sync.values() if pair.command == command]
        assert +status.by_command(command) == {one: states.count(one) for one in set(states)}
    assert sum(status.kinds.values()) == len(state)


@given(changes=changes)
def test_counts_follow_changes(stores: Stores, changes: list[tuple[str, dict[str, Sync] | None]]) -> None:
    """After any changes and deletions every count is what a scan of the heads would give."""
    clear(stores)
    status, state = Status(stores), dict[str, dict[str, Sync]]()
    for key, sync in changes:
        write(stores, key, sync)
        status.changed(0, [key.encode(), b"\x00marker"])
        if sync is None:
            state.pop(key, None)
        else:
            state[key] = sync
        assert_counts(status, state)


@given(before=changes, during=changes)
async def test_rebuild_beside_changes(
    stores: Stores, before: list[tuple[str, dict[str, Sync] | None]], during: list[tuple[str, dict[str, Sync] | None]]
) -> None:
    """A rebuild that runs beside changes ends with the same counts, whichever came first."""
    clear(stores)
    state: dict[str, dict[str, Sync] | None] = {}
    for key, sync in before:
        write(stores, key, sync)
        state[key] = sync
    status = Status(stores)
    for key, sync in during:
        write(stores, key, sync)
        status.changed(0, [key.encode()])
        state[key] = sync
    await status.rebuild(0)
    await status.rebuild(0)
    assert_counts(status, {key: sync for key, sync in state.items() if sync is not None})
    status.forget(0)
    assert_counts(status, {})


def test_longest_out_of_step_over_components(tmp_path: Path) -> None:
    """The pairs that are out of step longest come first, whichever component they are of."""
    stores = Stores(tmp_path)
    stores.open(0)
    status = Status(stores)
    for number, component in itertools.product(range(3), COMPONENTS):
        key = f"chart/{number}-{component}"
        write(stores, key, {component: Sync(state=SyncState.BEHIND, since_ms=10 * number + len(component))})
        status.changed(0, [key.encode()])
    assert [pair.artifact for pair in status.most_out_of_step(3)] == ["chart/0-c12", "chart/0-c20", "chart/1-c12"]
    stores.close_all()
