from hypothesis import given
from hypothesis import strategies as st

from kenviz.views.history import MOST, History


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, "drag"])), max_size=30))
def test_undoing_all_and_redoing_all_passes_the_same_states(pushed):
    history = History({"x": -1})
    for value, cause in pushed:
        history.push({"x": value}, cause)
    back = []
    while history.can_undo:
        back.append(history.undo())
    assert history.undo() is None
    assert (back[-1] if back else {"x": -1}) == {"x": -1}
    forward = []
    while history.can_redo:
        forward.append(history.redo())
    assert history.redo() is None
    assert forward[:-1] == back[-2::-1]
    if pushed:
        assert (forward[-1] if forward else {"x": -1}) == {"x": pushed[-1][0]}


def test_a_drag_is_one_step_and_two_choices_are_two():
    history = History({"x": 0})
    for x in range(1, 6):
        history.push({"x": x}, "x")
    history.push({"x": 10})
    history.push({"x": 11})
    assert [history.undo(), history.undo(), history.undo(), history.undo()] == [{"x": 10}, {"x": 5}, {"x": 0}, None]


def test_what_was_undone_is_forgotten_by_something_new_even_of_the_same_cause():
    history = History({"x": 0})
    history.push({"x": 1}, "x")
    history.push({"x": 2}, "y")
    history.undo()
    history.push({"x": 3}, "x")
    assert not history.can_redo
    assert history.undo() == {"x": 1}


def test_the_oldest_states_are_forgotten():
    history = History({"x": 0})
    for x in range(1, MOST + 50):
        history.push({"x": x})
    seen = 0
    while history.undo():
        seen += 1
    assert seen == MOST - 1
