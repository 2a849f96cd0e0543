"""Figures on paper: a Bokeh figure, which a view has built, drawn by matplotlib, for journals and saved notebooks.

paper          sizes, palettes and themes, as they are asked for; `Ink`: colours as they are printed
known          which properties of which models can be printed: what cannot is an error, never left out
values         properties and columns of a glyph as arrays
lettering      fonts, how wide text is, and how it is broken into lines
ticks          where axes are marked, and how, as BokehJS does it
sheet          the tree of a figure as boxes on a sheet
plot           one plot: its margins, axes, and what is in it; `keys`: legends and colour bars; `guides`: axes
glyphs         what is drawn of data; `shapes`: its markers and hatches
files          PNG and SVG, the same bytes for the same figure

Everything is laid out in the pixels of the screen, of which one is a point (1/72 inch) of the drawing; a file is that
drawing, scaled to its width. matplotlib's object interface alone is used: no pyplot, no state, no window.
"""
