// Reads what Kinema wrote into an mp4: the record of how it was made. The file does not leave the browser.

const CONTAINERS = new Set(["moov", "udta", "meta"]);
const MOST_BYTES = 64 * 2 ** 20;

function* boxes(view, start, end) {
  while (start + 8 <= end) {
    let size = view.getUint32(start);
    let head = 8;
    const name = word(view, start + 4);
    if (size === 1 && start + 16 <= end) {
      size = Number(view.getBigUint64(start + 8));
      head = 16;
    }
    if (size === 0) size = end - start;
    if (size < head || start + size > end) return;
    yield { name, start: start + head, end: start + size };
    start += size;
  }
}

function word(view, at) {
  return String.fromCharCode(...Array.from({ length: 4 }, (_, i) => view.getUint8(at + i)));
}

function text(view, start, end) {
  return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + start, end - start));
}

function readMeta(view, start, end, found) {
  let keys = [];
  for (const box of boxes(view, start, end)) {
    if (box.name === "keys") {
      keys = [...boxes(view, box.start + 8, box.end)].map((key) => text(view, key.start, key.end));
    } else if (box.name === "ilst") {
      for (let at = box.start; at + 8 <= box.end; ) {
        const size = view.getUint32(at);
        if (size < 8 || at + size > box.end) break;
        const key = keys[view.getUint32(at + 4) - 1] ?? word(view, at + 4);
        for (const data of boxes(view, at + 8, at + size)) {
          if (data.name === "data") found[key] = text(view, data.start + 8, data.end);
        }
        at += size;
      }
    }
  }
}

function walk(view, start, end, found) {
  for (const box of boxes(view, start, end)) {
    if (!CONTAINERS.has(box.name)) continue;
    if (box.name === "meta") {
      readMeta(view, box.start + 4, box.end, found); // after four bytes of version and flags
    } else {
      walk(view, box.start, box.end, found);
    }
  }
}

// The record of a file, or null for one that carries none.
export async function readRecord(file) {
  if (file.size > MOST_BYTES) return null;
  const found = {};
  const view = new DataView(await file.arrayBuffer());
  walk(view, 0, view.byteLength, found);
  try {
    const record = JSON.parse(found.kinema ?? "null");
    return record?.spec?.prompt ? record : null;
  } catch {
    return null;
  }
}
