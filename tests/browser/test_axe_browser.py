"""Every view in both themes: axe, which knows the rules of accessible pages, has nothing to say."""

import pytest
from saying import said_by_axe
from test_views_browser import SETUP, VIEWS

pytestmark = pytest.mark.browser


def test_axe_has_nothing_to_say_of_any_view(quiet_notebook):
    one = quiet_notebook([SETUP, *(f"view = {make}\n{change}\nview" for make, change in VIEWS.values())])
    one.run()
    looks = one.page.evaluate("[...document.querySelectorAll('.kenviz-view')].length")
    assert looks >= len(VIEWS)
    for theme in ("Light", "Dark"):
        one.use_theme(theme)
        one.wait_until_idle()
        assert said_by_axe(one, "kenviz-view") == [], theme
        assert said_by_axe(one, "kenviz-explorer") == [], theme
