// The server: requests with the key if one is needed, errors as they are said, and its stream of events.

const KEY = "kinema.key";

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    Object.assign(this, { status, code: error.code, param: error.param });
  }
}

export class Away extends Error {}

let askForKey = async () => {};

export function whenKeyIsWanted(ask) {
  askForKey = ask;
}

export const getKey = () => localStorage.getItem(KEY) || "";
export const setKey = (key) => localStorage.setItem(KEY, key);

const headers = (more = {}) => ({ ...more, ...(getKey() ? { authorization: `Bearer ${getKey()}` } : {}) });

async function send(path, options = {}) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(path, { ...options, headers: headers(options.headers) });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new Away(error.message);
    }
    if (answer.status === 401) {
      await askForKey();
      continue;
    }
    if (answer.ok) return answer;
    const body = await answer.json().catch(() => null);
    throw new Refused(answer.status, body?.error ?? { message: `${answer.status} ${answer.statusText}` });
  }
}

export const isKeyRight = async (key) =>
  (await fetch("/v1/models", { headers: { authorization: `Bearer ${key}` } })).status !== 401;

const json = async (path, options) => (await send(path, options)).json();

export const getVideo = (id) => json(`/v1/videos/${id}`);
export const cancelVideo = (id) => json(`/v1/videos/${id}/cancel`, { method: "POST" });
export const retryVideo = (id) => json(`/v1/videos/${id}/retry`, { method: "POST" });
export const deleteVideo = (id) => json(`/v1/videos/${id}`, { method: "DELETE" });
export const listModels = () => json("/v1/videos/models");
export const listVideos = (after, limit = 60) =>
  json(`/v1/videos?limit=${limit}${after ? `&after=${encodeURIComponent(after)}` : ""}`);

// The same idempotency key for the same request: pressing again after a lost answer makes one video.
export function createVideo(path, body, file, repeatKey, field = "input_reference") {
  const options = { method: "POST", headers: { "idempotency-key": repeatKey } };
  if (file) {
    options.body = new FormData();
    for (const [name, value] of Object.entries(body)) options.body.append(name, typeof value === "object" ? JSON.stringify(value) : value);
    options.body.append(field, file, file.name ?? "first.png");
  } else {
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  return json(path, options);
}

// What this server has beyond the page's own needs; what it lacks is not shown.
export async function hasRoute(path) {
  routes ??= fetch("/openapi.json").then(async (answer) => new Set(answer.ok ? Object.keys((await answer.json()).paths) : []));
  routes.catch(() => (routes = null));
  return (await routes.catch(() => new Set())).has(path);
}

let routes = null;

const LINK_ROUTE = "/v1/videos/{video_id}/link";
const DAY_S = 86400;

export const canShare = () => hasRoute(LINK_ROUTE);

// A link to the file that needs no key, for some days.
export const shareLink = async (id, days = 7, variant = "video") =>
  (await json(`/v1/videos/${id}/link?variant=${variant}&seconds=${days * DAY_S}`)).url;

export async function checkProvenance(file) {
  const body = new FormData();
  body.append("file", file, "video.mp4");
  return json("/v1/content_provenance_checks", { method: "POST", body });
}

export const fetchContent = async (id, variant = "video") =>
  (await send(`/v1/videos/${id}/content?variant=${variant}`)).blob();

const held = new Map();

// Where an <img> or <video> finds a file. They cannot send a key: where one is needed, they get a signed link.
export async function mediaAddress(id, variant) {
  if (!getKey()) return `/v1/videos/${id}/content?variant=${variant}`;
  const name = `${id}/${variant}`;
  if (!held.has(name)) held.set(name, openAddress(id, variant));
  held.get(name).catch(() => held.delete(name));
  return held.get(name);
}

async function openAddress(id, variant) {
  if (!(await canShare())) return URL.createObjectURL(await fetchContent(id, variant));
  const { pathname, search } = new URL(await shareLink(id, 1, variant));
  return pathname + search; // of this very server, whatever its public name
}

export function forgetMedia(id) {
  for (const [name, address] of held) {
    if (!name.startsWith(`${id}/`)) continue;
    held.delete(name);
    address.then((url) => url.startsWith("blob:") && URL.revokeObjectURL(url), () => {});
  }
}

// Follows what happens to all videos, for ever. `onOpen` hears of every (re)connection, `onAway` of every loss.
export async function follow({ onEvent, onOpen, onAway }) {
  let last = "";
  let wait = 500;
  for (;;) {
    try {
      const answer = await send("/v1/events", { headers: last ? { "last-event-id": last } : {} });
      let isOpen = false;
      for await (const event of readEvents(answer.body)) {
        if (event.id) last = event.id;
        if (!isOpen) {
          isOpen = true;
          wait = 500;
          onOpen();
        }
        if (event.data) onEvent(event.event, JSON.parse(event.data));
      }
    } catch (error) {
      if (!(error instanceof Away || error instanceof Refused || error instanceof TypeError)) throw error;
    }
    onAway();
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(5000, wait * 1.6);
  }
}

async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const event = {};
      for (const line of text.slice(0, end).split("\n")) {
        const colon = line.indexOf(":");
        if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
      }
      text = text.slice(end + 2);
      yield event;
    }
  }
}
