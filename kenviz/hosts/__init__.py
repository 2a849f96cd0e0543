"""Hosts that know anywidgets and no ipywidgets: a whole view as one anywidget, its controls included.

tree                        which widgets belong together, which of them can be drawn, what of them a page may set
portable, portable.js       the two halves of that one anywidget; portable.css is its look, controls.js its controls
displayed                   what shows a view in marimo
"""
