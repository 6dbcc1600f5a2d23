// Draws the rows: only those in view are in the page, so that thousands cost no more than ten.

const ROW_PX = 68;
const PROBLEM_PX = 64; // more, for a row that says what is wrong
const AROUND_PX = 300; // drawn above and below what is in view
const PARTS = ["name", "link", "badge", "detail", "bar", "problem"];

export class List {
  #box;
  #list;
  #template;
  #nodes = new Map(); // row's id → {node, parts, row}
  #items = []; // {key, height} in order
  #draw;

  /** `box` scrolls and has the list in it, whose rows are copies of `template`. `draw(key)` gives
   *  the row of an item. */
  constructor({ box, template, draw }) {
    this.#box = box;
    this.#list = box.querySelector("ul");
    this.#template = template;
    this.#draw = draw;
    box.addEventListener("scroll", () => this.#show(), { passive: true });
    new ResizeObserver(() => this.#show()).observe(box);
  }

  /** `items`: {key, isTall} in their order. */
  show(items) {
    this.#items = items;
    this.#show();
  }

  #show() {
    const first = this.#box.scrollTop - AROUND_PX;
    const last = this.#box.scrollTop + this.#box.clientHeight + AROUND_PX;
    const drawn = new Set();
    let top = 0;
    let before = null;
    this.#items.forEach(({ key, isTall }, index) => {
      const height = ROW_PX + (isTall ? PROBLEM_PX : 0);
      const isInView = top + height > first && top < last;
      if (isInView || this.#hasFocus(key)) {
        const { node } = this.#drawn(key);
        place(node, { top, height, index, count: this.#items.length });
        // Moving a row loses the focus in it: only where the order is another.
        const next = before ? before.nextElementSibling : this.#list.firstElementChild;
        if (next !== node) this.#list.insertBefore(node, next);
        before = node;
        drawn.add(key);
      }
      top += height;
    });
    for (const [key, { node }] of this.#nodes) {
      if (drawn.has(key)) continue;
      node.remove();
      this.#nodes.delete(key);
    }
    this.#list.style.height = `${top}px`;
  }

  #hasFocus(key) {
    return Boolean(this.#nodes.get(key)?.node.contains(document.activeElement));
  }

  #drawn(key) {
    const known = this.#nodes.get(key) ?? this.#made();
    this.#nodes.set(key, known);
    const row = this.#draw(key);
    fill(known, row);
    known.row = row;
    return known;
  }

  #made() {
    const node = this.#template.content.firstElementChild.cloneNode(true);
    const parts = Object.fromEntries(PARTS.map((name) => [name, node.querySelector(`[data-part=${name}]`)]));
    return { node, parts, row: {}, buttons: [...node.querySelectorAll("[data-act]")] };
  }
}

function place(node, { top, height, index, count }) {
  node.style.transform = `translateY(${top}px)`;
  node.style.height = `${height}px`;
  node.setAttribute("aria-posinset", index + 1);
  node.setAttribute("aria-setsize", count);
}

/** Changes what is another than before. */
function fill({ node, parts, buttons, row: before }, row) {
  const isNew = (...names) => names.some((name) => row[name] !== before[name]);
  if (isNew("id")) node.dataset.id = row.id;
  if (isNew("state")) {
    node.dataset.state = row.state;
    parts.badge.dataset.status = row.state;
    parts.bar.dataset.state = row.state;
  }
  if (isNew("label")) parts.badge.textContent = row.label;
  if (isNew("name", "url")) {
    parts.name.hidden = Boolean(row.url);
    parts.link.hidden = !row.url;
    if (row.url) parts.link.href = row.url;
    for (const place of node.querySelectorAll("[data-name]")) place.textContent = row.name;
    parts.name.title = row.path;
    parts.bar.setAttribute("aria-label", row.name);
  }
  if (isNew("detail")) parts.detail.textContent = row.detail;
  if (isNew("percent")) {
    parts.bar.value = row.percent;
    parts.bar.setAttribute("value", row.percent);
  }
  if (isNew("problem")) {
    parts.problem.textContent = row.problem;
    parts.problem.hidden = !row.problem;
  }
  if (String(row.actions) !== String(before.actions)) {
    for (const button of buttons) button.hidden = !row.actions.includes(button.dataset.act);
  }
}
