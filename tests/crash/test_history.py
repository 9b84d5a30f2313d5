"""The judge itself: what may be there after a kill, and nothing else."""

import pytest

from tests.crash.history import History, Key, Operation

TAG = Key("tag", "team/app", "latest")
ONE, TWO = "sha256:1", "sha256:2"
MANIFEST = Key("manifest", "team/app", ONE)


@pytest.fixture
def history() -> History:
    return History()


def put(history: History, value: str | None) -> Operation:
    return history.begin({TAG: value})


def test_nothing_was_written(history: History) -> None:
    assert history.read(TAG).possible() == {None}


def test_an_answered_write_is_there(history: History) -> None:
    history.acknowledge(put(history, ONE))
    assert history.read(TAG).possible() == {ONE}
    assert history.acknowledged == 1


def test_a_write_without_an_answer_may_be_there(history: History) -> None:
    history.acknowledge(put(history, ONE))
    put(history, TWO)
    assert history.read(TAG).possible() == {ONE, TWO}
    assert history.in_flight == 1


def test_the_later_of_two_answered_writes_is_there(history: History) -> None:
    history.acknowledge(put(history, ONE))
    history.acknowledge(put(history, TWO))
    assert history.read(TAG).possible() == {TWO}


def test_either_of_two_writes_at_the_same_time_is_there(history: History) -> None:
    first, second = put(history, ONE), put(history, TWO)
    history.acknowledge(second)
    history.acknowledge(first)
    assert history.read(TAG).possible() == {ONE, TWO}


def test_a_write_without_an_answer_may_come_last(history: History) -> None:
    """It was sent before the other one, but when it was done nobody knows."""
    put(history, ONE)
    history.acknowledge(put(history, TWO))
    assert history.read(TAG).possible() == {ONE, TWO}


def test_a_refused_write_did_nothing(history: History) -> None:
    history.acknowledge(put(history, ONE))
    history.refuse(put(history, TWO))
    assert history.read(TAG).possible() == {ONE}
    assert history.in_flight == 0


def test_an_answered_removal(history: History) -> None:
    history.acknowledge(put(history, ONE))
    history.acknowledge(put(history, None))
    assert history.read(TAG).possible() == {None}


@pytest.mark.parametrize(("tagged", "left"), [(ONE, {None}), (TWO, {TWO})])
def test_a_removed_manifest_takes_its_tags_and_no_other(history: History, tagged: str, left: set[str | None]) -> None:
    history.acknowledge(put(history, tagged))
    history.acknowledge(history.begin_removal(MANIFEST))
    assert history.read(TAG).possible() == left
    assert history.read(MANIFEST).possible() == {None}


def test_a_tag_that_moves_while_its_manifest_is_removed(history: History) -> None:
    history.acknowledge(put(history, ONE))
    removal = history.begin_removal(MANIFEST)
    history.acknowledge(put(history, TWO))
    history.acknowledge(removal)
    assert TWO in history.read(TAG).possible()
    assert ONE not in history.read(TAG).possible(), "whichever came first, nothing points at what is removed"


def test_what_is_found_is_where_it_goes_on_from(history: History) -> None:
    put(history, ONE)
    history.settle(TAG, ONE)
    assert history.read(TAG).possible() == {ONE}
    history.settle(TAG, None)
    assert history.read(TAG).possible() == {None}
    assert history.gone == {TAG}
