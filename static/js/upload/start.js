// Takes files wherever they are dropped, pasted or chosen. The rest of the uploads' modules comes
// when it is needed: most pages are only looked at.
import { fromInput, fromTransfer, listenForDrops } from "./drop.js";

const root = document.getElementById("uploads");
const target = document.getElementById("drop-target");

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

let loading = null;

async function uploads() {
  loading ??= load();
  return (await loading).uploads;
}

/** Until it succeeds: somebody has dropped files, or is about to, and they must not be lost. */
async function load() {
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    try {
      const page = await import("./page.js");
      tell("");
      return page;
    } catch {
      tell("The portal does not answer. Files that you choose are sent as soon as it does.");
      await new Promise((go) => setTimeout(go, wait));
    }
  }
}

function tell(text) {
  const notice = root.querySelector('[data-at="notice"]');
  notice.querySelector('[data-at="notice-text"]').textContent = text;
  notice.hidden = !text;
  if (text) root.hidden = false;
}

function loadOnUploadPage() {
  if (document.getElementById("page")?.dataset.section === "upload") uploads();
}

listenForDrops({
  over: (isOver) => {
    root.dataset.over = isOver;
    target.hidden = !isOver;
    if (isOver) uploads(); // they are about to be needed
  },
  take: async (transfer) => {
    const found = await fromTransfer(transfer);
    (await uploads()).add(found);
  },
});

root.addEventListener("change", async ({ target: input }) => {
  if (input.type !== "file" || input.closest("[data-upload], [data-kept]")) return;
  const found = fromInput(input);
  input.value = ""; // so that choosing the same file again is a change too
  (await uploads()).add(found);
});

document.addEventListener("htmx:afterSettle", loadOnUploadPage);
loadOnUploadPage();
