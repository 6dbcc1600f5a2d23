// A button that a redraw hides or removes hands the focus on to what took its place, to the rows
// beside, or to the list's heading: whoever uses the keyboard stays where they were.

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
    (isVisible(focused) ? focused : next)?.focus(); // a row that only moved lost it too
  };
}

function firstButton(place) {
  return [...place.querySelectorAll("button, input")].find(isVisible);
}

function isVisible(element) {
  return element.isConnected && element.checkVisibility();
}

/** Nobody has moved it elsewhere meanwhile. */
function isLost() {
  return document.activeElement === document.body || !isVisible(document.activeElement);
}
