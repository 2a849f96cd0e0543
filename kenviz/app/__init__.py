"""``ken view``: the Explorer as an app on one's own machine, served by Voilà with the templates in share/."""
