// Takes files wherever they are dropped, pasted or chosen. The rest of the uploads' modules comes
// when it is needed: most pages are only looked at.
import { fromInput, fromTransfer, listenForDrops } from "./drop.js";

const root = document.getElementById("uploads");
const target = document.getElementById("drop-target");

let loading = null;

async function uploads() {
  loading ??= import("./page.js");
  return (await loading).uploads;
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
