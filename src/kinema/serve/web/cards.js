// What is being made, and what has been made.

import * as api from "./api.js";
import * as shelf from "./shelf.js";
import { ago, duration, t, translate } from "./words.js";

const $ = (id) => document.getElementById(id);
const HOVER_MS = 120;
const STEP = 24;
const ROW_PX = 224;

const jobs = new Map();
const tiles = new Map();
let query = "";
let onlyFavourites = false;
let shown = STEP;
let onOpen = () => {};
let isFirstLook = true;

export function setUp({ open }) {
  onOpen = open;
  $("search").addEventListener("input", async (event) => {
    query = event.target.value.trim().toLowerCase();
    render();
    while (query && shelf.hasMoreVideos()) await shelf.loadMore();
  });
  $("only-favourites").addEventListener("click", () => {
    onlyFavourites = !onlyFavourites;
    $("only-favourites").setAttribute("aria-pressed", String(onlyFavourites));
    render();
  });
  new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting || isFirstLook) return;
    shown += STEP;
    if (shown >= matching().length) await shelf.loadMore();
    render();
  }, { rootMargin: "600px" }).observe($("more"));
  new ResizeObserver(() => fitRows(matching())).observe($("tiles"));
  shelf.whenChanged(render);
}

// The finished videos that the search and the filter let through, newest first.
export function matching() {
  return shelf
    .all()
    .filter((video) => video.status === "completed")
    .filter((video) => !onlyFavourites || shelf.isFavourite(video.id))
    .filter((video) => !query || video.prompt.toLowerCase().includes(query));
}

export function loaded() {
  isFirstLook = false;
  render();
}

export function redraw() {
  for (const known of [jobs, tiles]) {
    for (const node of known.values()) node.remove();
    known.clear();
  }
  render();
}

export function render() {
  renderJobs();
  renderTiles();
}

// Keeps the elements of what stays, so that nothing that plays is disturbed.
function arrange(place, known, list, make, update) {
  const wanted = new Set(list.map((video) => video.id));
  for (const [id, node] of known) {
    if (wanted.has(id)) continue;
    if (node.contains(document.activeElement)) focusNeighbour(node);
    node.remove();
    known.delete(id);
  }
  list.forEach((video, i) => {
    if (!known.has(video.id)) known.set(video.id, make(video));
    const node = known.get(video.id);
    if (place.children[i] !== node) place.insertBefore(node, place.children[i] ?? null);
    update(node, video);
  });
}

function focusNeighbour(node) {
  const next = node.nextElementSibling ?? node.previousElementSibling;
  (next?.querySelector("button:not([hidden])") ?? $("prompt")).focus({ preventScroll: true });
}

function renderJobs() {
  const open = shelf.all().filter((video) => video.status !== "completed");
  const rank = { in_progress: 0, queued: 1, failed: 2 };
  open.sort((a, b) => rank[a.status] - rank[b.status] || (a.status === "queued" ? a.order - b.order : b.order - a.order));
  $("works").hidden = open.length === 0;
  const busy = open.filter((video) => !shelf.hasEnded(video)).length;
  $("works-count").textContent = busy ? String(busy) : "";
  const first = open.find((video) => video.status === "in_progress");
  document.title = first ? `${first.progress} % · Kinema` : "Kinema";
  arrange($("jobs"), jobs, open, makeJob, updateJob);
}

function makeJob(video) {
  const node = $("job-card").content.firstElementChild.cloneNode(true);
  translate(node);
  node.dataset.id = video.id;
  node.addEventListener("click", async (event) => {
    const act = event.target.closest("[data-act]")?.dataset.act;
    if (!act || event.detail > 1) return; // the second click of two falls on what stands there after the first
    if (act === "cancel") shelf.markStopping(video.id);
    try {
      if (act === "cancel") await shelf.learn(() => api.cancelVideo(video.id));
      if (act === "retry") await shelf.learn(() => api.retryVideo(video.id));
      if (act === "delete") {
        await api.deleteVideo(video.id);
        shelf.remove(video.id);
      }
    } catch (error) {
      if (!(error instanceof api.Away || error instanceof api.Refused)) throw error;
      shelf.look(video.id);
    }
  });
  return node;
}

function stateOf(video) {
  if (video.status === "failed") return video.error?.code === "cancelled" ? t("cancelled") : t("failed");
  if (video.isStopping) return t("cancelling");
  const left = video.eta_s == null ? [] : [t("left", duration(video.eta_s))];
  if (video.status === "queued") {
    const place = video.queue_position > 0 ? t("queuedAt", video.queue_position) : t("queuedNext");
    return [place, ...left, ...(video.attempt > 0 ? [t("attempt", video.attempt + 1)] : [])].join(" · ");
  }
  const stage = video.stage ? t(`stage.${video.stage}`) : t("starting");
  return [stage, `${video.progress} %`, ...left, ...(video.attempt > 1 ? [t("attempt", video.attempt)] : [])].join(" · ");
}

function updateJob(node, video) {
  node.dataset.status = video.status;
  const isCancelled = video.error?.code === "cancelled";
  node.classList.toggle("is-cancelled", isCancelled);
  node.querySelector("h3").textContent = video.prompt;
  node.querySelector("h3").title = video.prompt;
  node.querySelector(".state").textContent = stateOf(video);
  const bar = node.querySelector("progress");
  bar.hidden = shelf.hasEnded(video);
  bar.value = video.status === "queued" ? 0 : video.progress;
  bar.setAttribute("aria-label", video.prompt);
  const why = node.querySelector(".why");
  why.hidden = !(video.status === "failed" && !isCancelled);
  why.textContent = video.error?.message ?? "";
  const image = node.querySelector("img");
  if (video.preview && image.src !== video.preview) image.src = video.preview;
  image.hidden = !video.preview;
  node.querySelector(".preview").style.aspectRatio = aspect(video);
  for (const [act, isThere] of Object.entries({ cancel: !shelf.hasEnded(video), retry: video.status === "failed", delete: video.status === "failed" })) {
    const button = node.querySelector(`[data-act=${act}]`);
    button.hidden = !isThere;
    button.disabled = act === "cancel" && Boolean(video.isStopping);
    button.setAttribute("aria-label", `${button.textContent}: ${video.prompt}`);
  }
}

const aspect = (video) => (video.size ? video.size.replace("x", " / ") : "1 / 1");

function renderTiles() {
  const list = matching();
  arrange($("tiles"), tiles, list.slice(0, shown), makeTile, updateTile);
  fitRows(list);
  const total = shelf.all().filter((video) => video.status === "completed").length;
  $("gallery-count").textContent = total ? `${total}${shelf.hasMoreVideos() ? "+" : ""}` : "";
  $("find").hidden = total === 0;
  $("empty").hidden = list.length > 0 || isFirstLook;
  $("empty").classList.toggle("is-search", total > 0);
  $("empty-words").textContent = total === 0 ? t("empty") : query ? t("noneFound", $("search").value) : t("noFavourites");
  $("ideas").hidden = shelf.all().length > 0 || isFirstLook;
}

// Rows as high as makes videos of the commonest proportions fill them from edge to edge.
function fitRows(list) {
  const counts = new Map();
  for (const video of list) counts.set(video.size, (counts.get(video.size) ?? 0) + 1);
  const [size] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? ["1x1"];
  const [width, height] = (size || "1x1").split("x").map(Number);
  const place = $("tiles").clientWidth;
  const gap = parseFloat(getComputedStyle($("tiles")).columnGap) || 0;
  const count = Math.max(width > height && place < 600 ? 1 : 2, Math.round(place / (ROW_PX * (width / height))));
  const row = (place - gap * (count - 1)) / count / (width / height);
  $("tiles").style.setProperty("--row", `${Math.floor(row * 100) / 100}px`);
}

function makeTile(video) {
  const node = $("tile").content.firstElementChild.cloneNode(true);
  translate(node);
  node.dataset.id = video.id;
  const [width, height] = (video.size || "1x1").split("x").map(Number);
  node.style.setProperty("--aspect", String(width / height));
  const open = node.querySelector(".open");
  const image = node.querySelector("img");
  api.mediaAddress(video.id, "thumbnail").then((address) => (image.src = address), () => {});
  open.addEventListener("click", () => onOpen(video.id));
  node.querySelector(".star").addEventListener("click", () => shelf.toggleFavourite(video.id));
  playOnHover(open, video);
  return node;
}

function updateTile(node, video) {
  const star = node.querySelector(".star");
  const isOn = shelf.isFavourite(video.id);
  star.setAttribute("aria-pressed", String(isOn));
  star.setAttribute("aria-label", `${t("favourite")}: ${video.prompt}`);
  node.querySelector(".open").setAttribute("aria-label", t("openVideo", video.prompt));
  node.querySelector(".caption span").textContent = video.prompt;
  node.querySelector(".caption small").textContent = [video.seconds && t("seconds", Number(video.seconds)), ago(video.created_at)].filter(Boolean).join(" · ");
}

function playOnHover(button, video) {
  let film = null;
  let soon = null;
  const start = () => {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    soon = setTimeout(async () => {
      const address = await api.mediaAddress(video.id, "video").catch(() => null);
      if (soon === null || !address) return;
      film ??= Object.assign(document.createElement("video"), { muted: true, loop: true, playsInline: true, src: address, tabIndex: -1 });
      film.setAttribute("aria-hidden", "true");
      button.append(film);
      film.play().catch(() => {});
    }, HOVER_MS);
  };
  const stop = () => {
    clearTimeout(soon);
    soon = null;
    film?.remove();
    film?.removeAttribute("src");
    film?.load();
    film = null;
  };
  button.addEventListener("pointerenter", start);
  button.addEventListener("pointerleave", stop);
  button.addEventListener("focus", () => button.matches(":focus-visible") && start());
  button.addEventListener("blur", stop);
}
