// The drawer around the rows: what it says of all files together, and where it stands.

const EMPTY_ID = "00000000-0000-0000-0000-000000000000";
const PERCENT = /^\d+ % · /;
const PAGE = "page"; // in the upload page itself
const DRAWER = "drawer"; // above any other page

export class Panel {
  #root;
  #hasFiles = false;
  #hasKept = false;
  #isFolded = false;
  #isOver = true;

  constructor(root) {
    this.#root = root;
    this.tellOffline(!navigator.onLine);
  }

  get rows() {
    return { box: this.#part("rows"), template: document.getElementById("upload-row") };
  }

  get keptRows() {
    return { box: this.#part("kept-rows"), template: document.getElementById("kept-row") };
  }

  /** Whether the page in the main area is the upload page. */
  move() {
    const isUploadPage = document.getElementById("page")?.dataset.section === "upload";
    const wasPage = this.#root.dataset.place === PAGE;
    this.#root.dataset.place = isUploadPage ? PAGE : DRAWER;
    if (wasPage && !isUploadPage) this.#isFolded = this.#isOver; // it would only hide the page
    this.#place();
    return isUploadPage;
  }

  fold() {
    this.#isFolded = !this.#isFolded;
    this.#place();
  }

  unfold() {
    this.#isFolded = false;
    this.#place();
  }

  show({ total, can, stored }) {
    this.#hasFiles = total.files > 0;
    this.#isOver = total.isOver;
    this.#set("title", total.title);
    this.#set("text", total.text);
    const bar = this.#part("bar");
    bar.value = total.percent;
    bar.setAttribute("value", total.percent);
    for (const [name, isPossible] of Object.entries(can)) this.#part(`can-${name}`).hidden = !isPossible;
    this.#part("progress").hidden = !this.#hasFiles;
    this.#showWhatNext(total, stored);
    this.#showInTab(total);
    this.#place();
  }

  showKept(number) {
    this.#hasKept = number > 0;
    this.#part("kept").hidden = !this.#hasKept;
    this.#place();
  }

  speak(text) {
    this.#set("spoken", text);
  }

  tellNotice(text) {
    this.#set("notice-text", text);
    this.#part("notice").hidden = !text;
  }

  tellOffline(isOffline) {
    this.#part("offline").hidden = !isOffline;
  }

  /** `error`: why the account of this page may do nothing; null when it may again. */
  tellAccess(error) {
    this.#part("logged-out").hidden = !error?.isLoggedOut;
    this.#part("other-account").hidden = !error || error.isLoggedOut;
  }

  /** One batch or one file has a page with everything that can be done next. */
  #showWhatNext({ isOver }, stored) {
    const { batchUrl, fileUrl, filesUrl } = this.#root.dataset;
    this.#part("next").hidden = !isOver || stored.length === 0;
    if (!filesUrl) return; // a guest's page: nothing else is theirs to see
    const batches = new Set(stored.map(({ batch_id: id }) => id));
    const [batchId] = batches;
    const isOne = batches.size === 1 && (batchId || stored.length === 1);
    const address = batchId
      ? batchUrl.replace(EMPTY_ID, batchId)
      : fileUrl.replace(EMPTY_ID, stored[0]?.id);
    this.#part("next-open").href = isOne ? address : filesUrl;
    this.#set("next-open", isOne ? (batchId ? "View batch" : "View file") : "View files");
    this.#part("next-run").hidden = !isOne;
    this.#part("next-copy").hidden = !isOne;
    if (!isOne) return;
    this.#part("next-run").href = `${address}#workflows`;
    this.#set("next-link", new URL(address, location.href).href);
  }

  #showInTab({ isOver, files, percent }) {
    const plain = document.title.replace(PERCENT, "");
    const title = files && !isOver ? `${Math.floor(percent)} % · ${plain}` : plain;
    if (document.title !== title) document.title = title;
  }

  #place() {
    const { place } = this.#root.dataset;
    this.#root.dataset.files = this.#hasFiles || this.#hasKept;
    this.#root.hidden = place === DRAWER && !this.#hasFiles;
    const isFolded = place === DRAWER && this.#isFolded;
    this.#root.dataset.folded = isFolded;
    this.#part("fold").setAttribute("aria-expanded", !isFolded);
  }

  #set(name, text) {
    const part = this.#part(name);
    if (part.textContent !== text) part.textContent = text;
  }

  #part(name) {
    return this.#root.querySelector(`[data-at="${name}"]`);
  }
}
