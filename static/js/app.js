// What every page needs. Events are delegated, so content that htmx adds later is covered too.
import { relativeTime } from "./format.js";

const RELABEL_MS = 2000;
const ACTS = "[data-theme-toggle], [data-copy], [data-reveal], [data-dialog], [data-close]";
const systemDark = matchMedia("(prefers-color-scheme: dark)");

function toggleTheme() {
  const root = document.documentElement;
  const system = systemDark.matches ? "dark" : "light";
  const next = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
  if (next === system) {
    delete root.dataset.theme;
  } else {
    root.dataset.theme = next;
  }
  try {
    // Choosing the system's own theme removes the choice: the portal follows the system again.
    if (next === system) localStorage.removeItem("doorito.theme");
    else localStorage.setItem("doorito.theme", next);
  } catch {
    // Storage is switched off: the choice lasts until the next page.
  }
}

async function copy(button) {
  const text = document.querySelector(button.dataset.copy).textContent.trim();
  const label = button.querySelector("[data-copy-label]");
  const before = label.dataset.before ?? label.textContent;
  label.dataset.before = before;
  label.setAttribute("aria-live", "polite");
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    // No clipboard over plain http from another machine: select, so that Ctrl+C is enough.
    getSelection().selectAllChildren(document.querySelector(button.dataset.copy));
    label.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (label.textContent = before), RELABEL_MS);
}

function reveal(button) {
  const input = document.getElementById(button.dataset.reveal);
  const shown = input.type === "password";
  input.type = shown ? "text" : "password";
  button.querySelector("[data-reveal-label]").textContent = shown ? "Hide" : "Show";
  button.setAttribute("aria-pressed", String(shown));
}

/** Closed again by its own buttons, by Escape and, where browsers know `closedby`, from outside. */
function openDialog(button) {
  document.getElementById(button.dataset.dialog).showModal();
}

function closeMenus(except) {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(except)) menu.open = false;
  }
}

document.addEventListener("click", (event) => {
  closeMenus(event.target);
  const button = event.target.closest(ACTS);
  if (!button) return;
  if ("themeToggle" in button.dataset) toggleTheme();
  else if ("copy" in button.dataset) copy(button);
  else if ("reveal" in button.dataset) reveal(button);
  else if ("dialog" in button.dataset) openDialog(button);
  else button.closest("dialog").close();
});

// Tab can move the focus out of an open menu, which must not cover the focused element.
document.addEventListener("focusin", (event) => closeMenus(event.target));

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details[data-menu][open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// Relative times are kept up to date, and show the time in the reader's time zone on hover.
const exact = new Intl.DateTimeFormat(document.documentElement.lang, {
  dateStyle: "long",
  timeStyle: "short",
});

function refreshTimes() {
  for (const element of document.querySelectorAll("time[data-relative]")) {
    const at = new Date(element.dateTime);
    const text = relativeTime((at - Date.now()) / 1000);
    if (element.textContent !== text) element.textContent = text;
    element.title = exact.format(at);
  }
}

// Focus the first invalid field of a form that came back (it may be far down the page), or
// something that is shown only once.
document.querySelector("[aria-invalid='true'], [data-focus]")?.focus();

refreshTimes();
setInterval(refreshTimes, 10_000);

// A refreshed part of the page keeps the details that the reader opened or closed.
const unfolded = new Map();
document.addEventListener("click", (event) => {
  const details = event.target.closest("details[data-keep] > summary")?.parentElement;
  if (details) unfolded.set(details.dataset.keep, !details.open);
});
// "Load more" is replaced by the rows it loaded: the focus moves to the first of them.
let lastRow = null;
document.addEventListener("htmx:beforeSwap", (event) => {
  const pressed = event.detail.requestConfig.elt.closest("[data-more] a");
  lastRow = pressed && pressed.closest("tr").previousElementSibling;
});
document.addEventListener("htmx:afterSwap", () => {
  lastRow?.nextElementSibling?.querySelector("a")?.focus();
  lastRow = null;
});

// ... and keeps its scroll position; if it was scrolled to its end, it follows what is added.
const scrolled = new Map();
document.addEventListener("htmx:beforeSwap", () => {
  for (const box of document.querySelectorAll("[data-scroll]")) {
    const isAtEnd = box.scrollHeight - box.clientHeight - box.scrollTop < 4;
    scrolled.set(box.id, isAtEnd ? Number.MAX_SAFE_INTEGER : box.scrollTop);
  }
});

document.addEventListener("htmx:afterSwap", () => {
  for (const box of document.querySelectorAll("[data-scroll]")) {
    if (scrolled.has(box.id)) box.scrollTop = scrolled.get(box.id);
  }
  for (const details of document.querySelectorAll("details[data-keep]")) {
    if (unfolded.has(details.dataset.keep)) details.open = unfolded.get(details.dataset.keep);
  }
  refreshTimes();
});
