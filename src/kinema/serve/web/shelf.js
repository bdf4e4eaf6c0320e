// All videos that the page knows, and what stays in this browser: favourites, the draft.

import * as api from "./api.js";

const listeners = new Set();
const videos = new Map();
const previews = new Map(); // of what is being made; they may come before the video they belong to is known
const favourites = new Set(read("kinema.favourites", []));
let cursor = null;
let hasMore = false;
let loading = null;

function read(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export const readDraft = () => read("kinema.draft", {});

export function keepDraft(draft) {
  try {
    localStorage.setItem("kinema.draft", JSON.stringify(draft));
  } catch {
    localStorage.setItem("kinema.draft", JSON.stringify({ ...draft, picture: null })); // too large a picture
  }
}

export const whenChanged = (listener) => listeners.add(listener);

let isPlanned = false;

function changed() {
  if (isPlanned) return;
  isPlanned = true;
  queueMicrotask(() => {
    isPlanned = false;
    for (const listener of listeners) listener();
  });
}

export const get = (id) => videos.get(id);
export const hasMoreVideos = () => hasMore;
export const all = () => [...videos.values()].sort((a, b) => b.order - a.order);
export const isFavourite = (id) => favourites.has(id);

export function toggleFavourite(id) {
  if (!favourites.delete(id)) favourites.add(id);
  localStorage.setItem("kinema.favourites", JSON.stringify([...favourites]));
  changed();
}

// An answer is as old as its question: what was heard of a video meanwhile, by an event or a later answer, is newer.
let now = 0;
const heard = new Map(); // when what is known of each video was so
const moved = new Map(); // when its progress was
const gone = new Set();

const tick = () => (now += 1);

// Asks something that answers with a video, and takes that in; false for an answer that news has overtaken.
export async function learn(question) {
  const asked = tick();
  return put(await question(), asked);
}

// Newest first; within one second (the API's unit), the one that came later to the page.
let arrivals = 0;

function put(video, asked, isOlder = false) {
  if (gone.has(video.id)) return true;
  if (asked < (heard.get(video.id) ?? 0)) return false;
  heard.set(video.id, asked);
  const known = videos.get(video.id);
  arrivals += 1;
  const order = known?.order ?? video.created_at * 1e6 + (isOlder ? 5e5 - arrivals : 5e5 + arrivals);
  if (hasEnded(video)) previews.delete(video.id);
  const isAhead = known && !hasEnded(video) && asked < (moved.get(video.id) ?? 0);
  const progress = isAhead ? Object.fromEntries(PROGRESS.map((name) => [name, known[name]])) : {};
  videos.set(video.id, { ...video, ...progress, preview: previews.get(video.id), order, isStopping: known?.isStopping && !hasEnded(video) });
  changed();
  return true;
}

const PROGRESS = ["status", "stage", "step", "total", "progress", "eta_s"];

export const hasEnded = (video) => video.status === "completed" || video.status === "failed";

export function remove(id) {
  gone.add(id);
  drop(id);
}

function drop(id) {
  if (!videos.delete(id)) return;
  if (favourites.delete(id)) localStorage.setItem("kinema.favourites", JSON.stringify([...favourites]));
  api.forgetMedia(id);
  changed();
}

export function markStopping(id) {
  const video = videos.get(id);
  if (video) videos.set(id, { ...video, isStopping: true });
  changed();
}

// Reads the newest page again, and all that was known beyond it stays.
export async function refresh() {
  const asked = tick();
  const page = await api.listVideos(null);
  const oldest = page.data.at(-1)?.created_at ?? 0;
  const seen = new Set(page.data.map((video) => video.id));
  for (const video of [...videos.values()]) {
    if (seen.has(video.id) || heard.get(video.id) > asked) continue;
    if (video.created_at > oldest || !page.has_more) drop(video.id);
  }
  for (const video of page.data) put(video, asked, true);
  if (cursor === null || !videos.has(cursor)) {
    cursor = page.last_id;
    hasMore = page.has_more;
  }
  changed();
}

export function loadMore() {
  if (!hasMore) return Promise.resolve();
  const asked = tick();
  loading ??= api
    .listVideos(cursor, 100)
    .then((page) => {
      for (const video of page.data) put(video, asked, true);
      cursor = page.last_id ?? cursor;
      hasMore = page.has_more;
      changed();
    })
    .finally(() => {
      loading = null;
    });
  return loading;
}

export async function look(id) {
  try {
    while (!(await learn(() => api.getVideo(id)))); // asked again, for as long as news overtakes the answer
  } catch (error) {
    if (error instanceof api.Refused && error.status === 404) remove(id);
    else if (!(error instanceof api.Away)) throw error;
  }
  return videos.get(id);
}

let lookSoon = null;

// The place in line of everybody who waits changes when one starts or leaves.
function lookAtWaiting() {
  lookSoon ??= setTimeout(() => {
    lookSoon = null;
    for (const video of videos.values()) if (video.status === "queued") look(video.id);
  }, 400);
}

const ENDS = new Set(["video.completed", "video.failed", "video.cancelled"]);

// Takes in one event of the server's stream; returns the video when it has just been completed.
export async function takeIn(type, event) {
  const known = videos.get(event.id);
  if (type === "video.deleted") {
    remove(event.id);
  } else if (type === "video.preview") {
    if (known && hasEnded(known)) return null;
    previews.set(event.id, event.image);
    if (known) videos.set(event.id, { ...known, preview: event.image });
  } else if (type === "video.progress" && known) {
    if (hasEnded(known)) return null;
    moved.set(event.id, tick());
    const { stage, step, total, progress, eta_s } = event;
    videos.set(event.id, { ...known, status: "in_progress", stage, step, total, progress, eta_s });
  } else {
    if (type !== "video.progress") heard.set(event.id, tick());
    await look(event.id);
    if (type !== "video.progress") lookAtWaiting();
    const video = videos.get(event.id);
    return ENDS.has(type) && video?.status === "completed" && known?.status !== "completed" ? video : null;
  }
  changed();
  return null;
}

// The videos that led to this one, oldest first.
export async function ancestors(video) {
  const from = [];
  for (let id = video.parent_id; id && from.length < 12; ) {
    const parent = videos.get(id) ?? (await api.getVideo(id).catch(() => null));
    if (!parent) break;
    from.unshift(parent);
    id = parent.parent_id;
  }
  return from;
}

// The finished videos that were made from this one, newest first.
export const madeFrom = (video) => all().filter((other) => other.parent_id === video.id && other.status === "completed");
