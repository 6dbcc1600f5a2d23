// Files out of a drop, a paste or a file input, folders included: {items: [{file, relativePath}],
// unreadable: [path]}.

export function fromInput(input) {
  const items = [...input.files].map((file) => ({
    file,
    relativePath: file.webkitRelativePath || "",
  }));
  return { items, unreadable: [] };
}

/** The entries must be taken before the first await: the browser empties the drop afterwards. */
export async function fromTransfer(transfer) {
  const taken = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  const found = { items: [], unreadable: [] };
  for (const { entry, file } of taken) {
    if (entry?.isDirectory) await walk(entry, entry.name, found);
    else if (file) found.items.push({ file, relativePath: "" });
    else found.unreadable.push(entry?.name ?? "an entry without a name");
  }
  return found;
}

async function walk(directory, path, found) {
  for (const entry of await readable(entriesOf(directory), path, found, [])) {
    const inside = `${path}/${entry.name}`;
    if (entry.isDirectory) {
      await walk(entry, inside, found);
      continue;
    }
    const file = await readable(fileOf(entry), inside, found, null);
    if (file) found.items.push({ file, relativePath: inside });
  }
}

/** One that cannot be read is noted, and must not cost the others of the drop. */
async function readable(reading, path, found, otherwise) {
  try {
    return await reading;
  } catch {
    found.unreadable.push(path);
    return otherwise;
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
