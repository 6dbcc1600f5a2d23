// Files out of a drop, a paste or a file input, folders included: [{file, relativePath}].

export function fromInput(input) {
  return [...input.files].map((file) => ({ file, relativePath: file.webkitRelativePath || "" }));
}

/** The entries must be taken before the first await: the browser empties the drop afterwards. */
export async function fromTransfer(transfer) {
  const taken = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  const found = [];
  for (const { entry, file } of taken) {
    if (entry?.isDirectory) await walk(entry, entry.name, found);
    else if (file) found.push({ file, relativePath: "" });
  }
  return found;
}

async function walk(directory, path, found) {
  for (const entry of await entriesOf(directory)) {
    const inside = `${path}/${entry.name}`;
    if (entry.isDirectory) await walk(entry, inside, found);
    else found.push({ file: await fileOf(entry), relativePath: inside });
  }
}

/** A reader gives a hundred at a time, and an empty list at the end. */
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
