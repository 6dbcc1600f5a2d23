// Files out of a drop, a paste or a file input, folders included: {items: [{file, relativePath,
// entry}], unreadable: [path], emptyFolders: [path]}. `entry` tells later what the file is like.

export function fromInput(input) {
  const items = [...input.files].map((file) => ({
    file,
    relativePath: file.webkitRelativePath || "",
    entry: null,
  }));
  return { items, unreadable: [], emptyFolders: [] };
}

/** The entries must be taken before the first await: the browser empties the drop afterwards. */
export async function fromTransfer(transfer) {
  const taken = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  const found = { items: [], unreadable: [], emptyFolders: [] };
  for (const { entry, file } of taken) {
    if (entry?.isDirectory) await walk(entry, entry.name, found);
    else if (file) found.items.push({ file, relativePath: "", entry: entry ?? null });
    else found.unreadable.push(entry?.name ?? "an entry without a name");
  }
  return found;
}

/** Files that are dropped or pasted anywhere in the page: `over(isOver)` while some are held above
 *  it, `take(transfer)` with what was let go. */
export function listenForDrops({ over, take }) {
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    over(true);
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth = Math.max(0, depth - 1);
    over(depth > 0);
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    over(false);
    take(event.dataTransfer);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) take(event.clipboardData);
  });
}

async function walk(directory, path, found) {
  const entries = await readable(entriesOf(directory), path, found);
  if (entries?.length === 0) found.emptyFolders.push(path);
  for (const entry of entries ?? []) {
    const inside = `${path}/${entry.name}`;
    if (entry.isDirectory) {
      await walk(entry, inside, found);
      continue;
    }
    const file = await readable(fileOf(entry), inside, found);
    if (file) found.items.push({ file, relativePath: inside, entry });
  }
}

/** Notes an entry that cannot be read; the others of the drop are still taken. */
async function readable(reading, path, found) {
  try {
    return await reading;
  } catch {
    found.unreadable.push(path);
    return null;
  }
}

/** All entries of a folder. A reader gives a hundred at a time, and an empty list at the end. */
async function entriesOf(directory) {
  const reader = directory.createReader();
  const entries = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return entries;
    entries.push(...some);
  }
}

function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}
