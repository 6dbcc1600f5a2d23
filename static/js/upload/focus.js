// If a redraw hides or removes the focused button, the focus moves to its replacement, to a
// neighbouring row, or to the list's heading, so that keyboard users keep their place.

/** To be called before a redraw; gives what is to be called after it. */
export function keepFocus(root) {
  const focused = document.activeElement;
  if (!root.contains(focused)) return () => {};
  const row = focused.closest("[data-upload]");
  const places = [focused.parentElement, row, row?.nextElementSibling, row?.previousElementSibling];
  return () => {
    if (!isLost()) return;
    const rests = [...root.querySelectorAll("[data-focus-rest]")];
    const next = places.filter(Boolean).map(firstButton).find(Boolean) ?? rests.findLast(isVisible);
    (isVisible(focused) ? focused : next)?.focus(); // moving a row loses the focus, too
  };
}

function firstButton(place) {
  return [...place.querySelectorAll("button, input")].find(isVisible);
}

function isVisible(element) {
  return element.isConnected && element.checkVisibility();
}

/** Whether the focus is lost, and nobody has moved it elsewhere meanwhile. */
function isLost() {
  return document.activeElement === document.body || !isVisible(document.activeElement);
}
