// A button that a redraw hides or removes hands the focus on to what took its place, to the rows
// beside, or to the list's heading: whoever uses the keyboard stays where they were.

/** To be called before a redraw; gives what is to be called after it. */
export function keepFocus(root) {
  const focused = document.activeElement;
  if (!root.contains(focused)) return () => {};
  const row = focused.closest("[data-upload]");
  const places = [focused.parentElement, row, row?.nextElementSibling, row?.previousElementSibling];
  return () => {
    if (isVisible(focused) || !isLost(focused)) return;
    const next = places.filter(Boolean).map(firstButton).find(Boolean);
    (next ?? [...root.querySelectorAll("[data-focus-rest]")].findLast(isVisible))?.focus();
  };
}

function firstButton(place) {
  return [...place.querySelectorAll("button")].find(isVisible);
}

function isVisible(element) {
  return element.isConnected && element.checkVisibility();
}

/** Nobody has moved it elsewhere meanwhile. */
function isLost(focused) {
  return document.activeElement === focused || document.activeElement === document.body;
}
