// One video, large: its settings, what it came from, and what can be done with it.

import * as api from "./api.js";
import { matching } from "./cards.js";
import * as composer from "./composer.js";
import { asCommand, asCurl, asPython, hasCommand, requestOf, sourcesOf, toClipboard, withoutSource } from "./copy.js";
import * as shelf from "./shelf.js";
import { ago, duration, t } from "./words.js";

const $ = (id) => document.getElementById(id);

const GONE_MS = 8000;

let present = null;
let say = () => {};
let compareWith = () => {};
let canVerify = false;
let canShare = false;

export const openId = () => ($("viewer").open ? present?.id : null);

export function setUp({ toast, compare }) {
  say = toast;
  compareWith = compare;
  $("viewer").addEventListener("close", closed);
  $("viewer-close").addEventListener("click", close);
  $("viewer").addEventListener("click", (event) => {
    if (event.target === $("viewer")) close(); // beside it
    const copy = event.target.closest("[data-copy]")?.dataset.copy;
    if (copy) copyAs(copy, requestOf(present));
    const act = event.target.closest("[data-do]")?.dataset.do;
    if (act) perform(act);
  });
  $("viewer-star").addEventListener("click", () => perform("favourite"));
  shelf.whenChanged(() => {
    if (!openId()) return;
    if (!shelf.get(present.id)) return sayGone();
    showStar();
    if (String(childrenOf(present)) !== shownChildren) showLineage(present);
    return undefined;
  });
}

// What this server can do beyond the page's own needs; what it cannot is not offered.
export async function findAbilities() {
  canVerify = await api.hasRoute("/v1/content_provenance_checks");
  canShare = await api.canShare();
  showAbilities();
}

function showAbilities() {
  $("viewer-verify").hidden = !canVerify;
  $("viewer-share").hidden = !canShare;
}

export async function copyAs(kind, asked) {
  const hasKey = Boolean(api.getKey());
  const isThere = (await Promise.all(sourcesOf(asked).map((id) => shelf.get(id) ?? shelf.look(id)))).every(Boolean);
  const request = isThere ? asked : withoutSource(asked);
  if (!request) return say(t("sourceGone"));
  const text = { curl: asCurl, python: asPython }[kind]?.(request, hasKey) ?? asCommand(request, composer.servedModel(request.model), hasKey);
  await toClipboard(text);
  return say(t("copied"));
}

export async function open(id) {
  const video = shelf.get(id)?.status === "completed" ? shelf.get(id) : await shelf.look(id);
  if (!video) return sayGone();
  if (video.status !== "completed") return document.querySelector(`.job[data-id="${id}"]`)?.scrollIntoView({ block: "center" });
  present = video;
  if (location.hash !== `#${id}`) history.pushState(null, "", `#${id}`);
  const film = $("viewer-video");
  const [width, height] = (video.size || "1x1").split("x").map(Number);
  film.style.setProperty("--aspect", String(width / height));
  film.classList.toggle("is-small", width < 160);
  film.removeAttribute("src");
  film.setAttribute("aria-label", video.prompt);
  if (!$("viewer").open) $("viewer").showModal();
  $("viewer").append($("toast")); // what it says is not to lie below
  $("viewer-prompt").textContent = video.prompt;
  $("viewer-prompt").focus();
  $("proof").hidden = true;
  showAbilities();
  $("viewer-badge").hidden = true;
  $("viewer").querySelector("[data-do=extend]").hidden = !composer.canChange("extend", video);
  $("viewer").querySelector("[data-do=loop]").hidden = !composer.canChange("loop", video);
  const asked = requestOf(video);
  for (const node of $("viewer").querySelectorAll("[data-copy]")) node.hidden = !asked || (node.dataset.copy === "cli" && !hasCommand(asked));
  showStar();
  showFacts(video);
  $("lineage").hidden = true;
  showLineage(video);
  film.poster = await api.mediaAddress(id, "thumbnail").catch(() => "");
  const address = await api.mediaAddress(id, "video");
  if (present.id !== id) return undefined;
  film.src = address;
  film.play().catch(() => {});
  Object.assign($("viewer-download"), { href: address, download: `${slug(video.prompt)}-${video.seed}.mp4` });
  return undefined;
}

// A link to what was deleted, or what somebody else has deleted meanwhile.
function sayGone() {
  if (openId()) close();
  if (location.hash) history.replaceState(null, "", location.pathname);
  say(t("gone"), GONE_MS);
}

const slug = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40) || "video";

export function close() {
  $("viewer").close();
}

function closed() {
  const film = $("viewer-video");
  film.pause();
  film.removeAttribute("src");
  film.load();
  if (location.hash) history.pushState(null, "", location.pathname);
  const tile = document.querySelector(`.tile[data-id="${present?.id}"] .open`);
  if (!document.activeElement || document.activeElement === document.body) tile?.focus({ preventScroll: true });
}

function showStar() {
  $("viewer-star").setAttribute("aria-pressed", String(shelf.isFavourite(present.id)));
}

function factsOf(video) {
  const took = video.inference_time_s == null ? null : duration(video.inference_time_s);
  return {
    size: video.size?.replace("x", " × "),
    seconds: video.seconds && t("seconds", Number(video.seconds)),
    fps: video.fps && t("rate", video.fps),
    seed: video.seed,
    model: video.model === video.served_model ? video.model : t("asModel", video.model, video.served_model),
    steps: video.steps,
    guidance: video.guidance,
    solver: video.solver,
    negative: video.negative_prompt,
    scenes: video.storyboard?.map((card) => t("sceneAt", card.second, card.prompt ?? "…")).join("\n"),
    took,
    resumed: video.resumed_step ? t("resumedAt", video.resumed_step) : null,
    created: `${ago(video.created_at)} · ${new Date(1000 * video.created_at).toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" })}`,
  };
}

// Of two videos: every fact in which they may differ.
export const comparable = (video) => {
  const { created: _, ...facts } = factsOf(video);
  return { prompt: video.prompt, ...facts };
};

function showFacts(video) {
  const rows = Object.entries(factsOf(video)).filter(([, value]) => value != null && value !== "");
  $("viewer-facts").replaceChildren(
    ...rows.map(([name, value]) => {
      const row = document.createElement("div");
      row.append(make("dt", t(`facts.${name}`)), make("dd", value));
      return row;
    }),
  );
}

function make(tag, text, name = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (name) node.className = name;
  return node;
}

const childrenOf = (video) => shelf.madeFrom(video).map((other) => other.id);
let shownChildren = "";

async function showLineage(video) {
  shownChildren = String(childrenOf(video));
  const from = await shelf.ancestors(video);
  const made = shelf.madeFrom(video);
  if (present.id !== video.id) return;
  $("lineage").hidden = from.length + made.length === 0;
  const items = [...from.map((other) => lineageItem(other)), lineageItem(video, true), ...made.map((other) => lineageItem(other))];
  $("lineage").querySelector("ol").replaceChildren(...(await Promise.all(items)));
}

async function lineageItem(video, isHere = false) {
  const item = document.createElement("li");
  const button = make("button", "");
  button.type = "button";
  const image = new Image();
  image.alt = "";
  image.src = await api.mediaAddress(video.id, "thumbnail").catch(() => "");
  const kind = { remix: "remix", edit: { remix: "remix", loop: "loop" }[video.edit] ?? "edited", extend: "extend" }[video.kind];
  button.append(image, make("span", video.prompt), make("small", kind ? t(kind) : ""));
  if (isHere) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => open(video.id));
  item.append(button);
  return item;
}

export function perform(act) {
  const video = present;
  if (act === "favourite") return shelf.toggleFavourite(video.id);
  if (act === "link") {
    toClipboard(location.href);
    return say(t("copied"));
  }
  if (act === "share") return share(video);
  if (act === "verify") return verify(video);
  if (act === "delete") return remove(video);
  if (["extend", "loop"].includes(act) && !composer.canChange(act, video)) return undefined;
  close();
  if (act === "compare") return compareWith(video);
  if (act === "reuse") {
    composer.reuse({ ...video, negative: video.negative_prompt });
    if (video.has_uploads && !video.edit_settings) say(t("reusedWithoutPicture"));
    return undefined;
  }
  return composer.startFrom(act, video);
}

async function share(video) {
  await toClipboard(await api.shareLink(video.id));
  say(t("shared"));
}

async function remove(video) {
  if (!confirm(t("deleteSure"))) return;
  await api.deleteVideo(video.id);
  close();
  shelf.remove(video.id);
  say(t("deleted"));
}

export function neighbour(step) {
  const list = matching();
  const here = list.findIndex((video) => video.id === present.id);
  const next = list[here + step];
  if (next) open(next.id);
}

// What the server finds when it looks at the very file that it gave us.
async function verify(video) {
  $("proof").hidden = false;
  $("proof").replaceChildren(make("p", t("proofBusy")));
  let lines;
  try {
    const { results, contradictions } = await api.checkProvenance(await api.fetchContent(video.id));
    lines = [...results.map(markLine), ...contradictions.map((each) => make("p", each, "is-wrong")), make("small", t("proof.note"))];
    $("viewer-badge").textContent = t("proofBadge");
    $("viewer-badge").hidden = !results.some((result) => result.outcome === "detected");
  } catch (error) {
    if (!(error instanceof api.Refused || error instanceof api.Away)) throw error;
    lines = [make("p", error.message)];
  }
  if (present.id === video.id) $("proof").replaceChildren(...lines);
}

function markLine(result) {
  const state = [t(`proof.${result.outcome}`), result.validation_state && t(`proof.${result.validation_state}`), result.issuer].filter(Boolean).join(" · ");
  const line = make("p", "", result.outcome === "detected" ? "is-found" : "");
  line.append(make("b", known(`proof.${result.type}`) ?? result.type), make("span", state));
  const restsOn = known(`rests.${result.type}`) ?? known(`rests.${result.validation_state}`);
  if (result.rests_on) line.append(make("small", t("proof.restsOn", restsOn ?? result.rests_on)));
  return line;
}

// A text if there is one of that name: servers may know more marks than this page.
function known(name) {
  const text = t(name);
  return text === name ? null : text;
}
