// What every page needs. Events are delegated, so content that htmx adds later is covered too.
import { count, relativeTime } from "./format.js";

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

// Rows that are chosen in a list, for what is done to several at once.
document.addEventListener("change", ({ target }) => {
  const form = target.closest("#chosen");
  if (!form) return;
  const rows = [...form.querySelectorAll("[data-choose]")];
  if ("chooseAll" in target.dataset) for (const row of rows) row.checked = target.checked;
  const chosen = rows.filter(({ checked }) => checked).length;
  form.querySelector("[data-choose-all]").checked = chosen === rows.length;
  form.querySelector("[data-chosen]").textContent = `${count(chosen, "file")} chosen`;
});

/** A download is no page: the browser itself sends such a form. */
document.addEventListener(
  "click",
  (event) => {
    const button = event.target.closest("[data-plain-submit]");
    if (!button) return;
    event.preventDefault();
    const { form, formAction } = button;
    const before = form.action;
    form.action = formAction;
    HTMLFormElement.prototype.submit.call(form); // asks no listener, as htmx's
    form.action = before;
  },
  true,
);

// The way back to a list keeps its search.
const LIST = "doorito.files";
function rememberList() {
  const isList = document.querySelector("#files-filter") !== null;
  try {
    if (isList) sessionStorage.setItem(LIST, location.pathname + location.search);
    const address = sessionStorage.getItem(LIST);
    for (const link of document.querySelectorAll("[data-back]")) if (address) link.href = address;
  } catch {
    // Storage is switched off: the way back leads to the whole list.
  }
}
rememberList();
document.addEventListener("htmx:pushedIntoHistory", () => setTimeout(rememberList));

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

/** The first invalid field of a form that came back (it may be far down the page), or something
 *  that is shown only once. */
function focusWhatMatters() {
  const wanted = document.querySelector("[aria-invalid='true'], [data-focus]");
  wanted?.focus();
  return Boolean(wanted);
}

focusWhatMatters();
refreshTimes();
setInterval(refreshTimes, 10_000);

// Links and forms change the main area only: what stands around it, and the uploads, go on. A page
// that is no page of the frame (of an error, say) has the same two ids.
const MAIN = "#main";
const PAGE = "#page";

/** htmx reads a link's address once: those of links that change or come later are visited here. */
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-visit]");
  const isPlain = !(event.button || event.ctrlKey || event.metaKey || event.shiftKey);
  if (!link || !isPlain) return;
  event.preventDefault();
  const headers = { "HX-Boosted": "true" };
  htmx.ajax("GET", link.href, { target: MAIN, headers, push: "true" });
});

function isVisit({ boosted, requestConfig }) {
  return boosted || requestConfig?.headers["HX-Boosted"] === "true";
}

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (!isVisit(detail)) return;
  const isPage = detail.serverResponse.includes('id="page"');
  if (!isPage) {
    detail.shouldSwap = false;
    location.assign(detail.xhr.responseURL);
    return;
  }
  Object.assign(detail, {
    shouldSwap: true,
    isError: false,
    target: document.querySelector(MAIN),
    selectOverride: PAGE,
    swapOverride: "innerHTML show:window:top",
  });
});

function markPlace() {
  const { section } = document.querySelector(PAGE)?.dataset ?? {};
  for (const link of document.querySelectorAll("[data-nav]")) {
    if (link.dataset.nav === section) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

document.addEventListener("htmx:afterSettle", ({ detail }) => {
  markPlace();
  rememberList();
  if (!isVisit(detail)) return;
  closeMenus(null);
  const { hash } = new URL(detail.xhr.responseURL);
  if (!focusWhatMatters() && !hash) document.querySelector(MAIN).focus({ preventScroll: true });
});
document.addEventListener("htmx:historyRestore", () => {
  markPlace();
  refreshTimes();
});

// A refreshed part of the page keeps the details that the reader opened or closed.
const unfolded = new Map();
document.addEventListener("click", (event) => {
  const details = event.target.closest("details[data-keep] > summary")?.parentElement;
  if (details) unfolded.set(details.dataset.keep, !details.open);
});
// "Load more" is replaced by the rows it loaded: the focus moves to the first of them.
let lastRow = null;
document.addEventListener("htmx:beforeSwap", (event) => {
  const pressed = event.detail.requestConfig?.elt.closest("[data-more] a");
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
