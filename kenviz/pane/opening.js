// The figure and BokehJS as they come with the state of widgets: a figure can be drawn while its kernel is busy.

// gzip, as a DataView, to bytes.
async function unpacked(packed) {
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

// The figure as it was when it was displayed, in the form of the kernel's answer; null if it was put into a box of
// which Python was not told that it is displayed.
async function openingOf(model) {
  const packed = model.get("opening");
  return packed ? JSON.parse(new TextDecoder().decode(await unpacked(packed))) : null;
}

// BokehJS of that version from the one widget that holds it for all panes of a kernel; null if it is not to be had.
async function libraryOf(model, version) {
  try {
    const library = await model.widget_manager.get_model(model.get("library"));
    return library.get("version") === version ? await unpacked(library.get("script")) : null;
  } catch {
    return null; // no library yet, or a host whose widgets know no others
  }
}
