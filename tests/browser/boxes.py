"""The boxes of the Explorer, measured in the page."""

#: What is wrong with the boxes of an Explorer, in words. Figures are canvases: what is in them is not measured here.
WRONG_BOXES = r"""(root) => {
    const seen = (element) => element.checkVisibility({visibilityProperty: true, opacityProperty: true})
        && element.getBoundingClientRect().width > 1;
    const told = ({tagName, className, textContent, title}) =>
        `${tagName}.${className}: ${(textContent || title).slice(0, 60)}`;
    // A box whose children take its place has no box of its own.
    const clips = (element, axis) => getComputedStyle(element).display !== "contents"
        && getComputedStyle(element)[axis] !== "visible";
    const wrong = [];
    // No text reaches beyond what would cut it off at its side.
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode, parent = node.parentElement;
        if (!node.textContent.trim() || parent.closest("select, textarea, [role=figure]") || !seen(parent)) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        // Spaces at the end of a line that was wrapped hang over its edge, where nobody sees them.
        const hang = getComputedStyle(parent).whiteSpace === "pre-wrap" && parent.scrollWidth <= parent.clientWidth;
        const text = (hang ? parent : range).getBoundingClientRect();
        for (let box = parent; box !== root.parentElement; box = box.parentElement) {
            if (!clips(box, "overflowX")) continue;
            const edge = box.getBoundingClientRect();
            if (text.right > edge.right + 1 || text.left < edge.left - 1) {
                wrong.push(`cut by ${box.className}: ${told(parent)}`);
                break;
            }
        }
    }
    // No control lies on another, as far as both can be seen; those of one grid have one height.
    const controls = [...root.querySelectorAll("input, select, textarea, button, .widget-slider, .kenviz-list")]
        .filter((control) => seen(control) && !control.closest("[role=figure]"));
    const visible = (element) => {
        let {left, right, top, bottom} = element.getBoundingClientRect();
        for (let box = element.parentElement; box !== root; box = box.parentElement) {
            if (!clips(box, "overflowY")) continue;
            const edge = box.getBoundingClientRect();
            [left, right] = [Math.max(left, edge.left), Math.min(right, edge.right)];
            [top, bottom] = [Math.max(top, edge.top), Math.min(bottom, edge.bottom)];
        }
        return {left, right, top, bottom};
    };
    const boxes = controls.map((control) => [control, visible(control)]);
    boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1 && down > 1 && !one.contains(other)) wrong.push(`${told(one)} on ${told(other)}`);
    }));
    const boxed = "select, button, input:not([type=checkbox], [type=range])";
    const heights = new Set(controls.filter((control) => control.closest(".kenviz-controls") && control.matches(boxed))
        .map((control) => control.offsetHeight));
    if (heights.size > 1) wrong.push(`heights of controls: ${[...heights]}`);
    // Nothing is wider than its place, and no panel reaches out of the Explorer.
    const whole = root.getBoundingClientRect();
    for (const name of ["bar", "side", "map-panel", "stage", "aside"]) {
        const part = root.querySelector(`.kenviz-${name}`), box = part.getBoundingClientRect();
        if (box.right > whole.right + 1 || box.left < whole.left - 1 || box.bottom > whole.bottom + 1)
            wrong.push(`${name} reaches out`);
        if (part.scrollWidth > part.clientWidth + 1) wrong.push(`${name} scrolls sideways`);
    }
    return wrong;
}"""
