// The box in which a video is asked for.

import * as api from "./api.js";
import * as shelf from "./shelf.js";
import * as story from "./story.js";
import { requestOf } from "./copy.js";
import { t } from "./words.js";

const $ = (id) => document.getElementById(id);
const FIELDS = ["prompt", "size", "seconds", "seed", "takes", "model", "negative", "steps", "guidance", "solver"];
const ASPECTS = [[1, 1], [16, 9], [9, 16], [4, 3], [3, 4], [21, 9]];
const LENGTHS = [1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20];

let models = [];
let mode = "create"; // or remix, extend, loop
let source = null;
let picture = null; // a data: URL, as wide and high as it was dropped
let repeatKey = null;
let onSent = () => {};

export function setUp({ sent, take }) {
  onSent = sent;
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  $("composer").addEventListener("input", edited);
  story.setUp({ changed: () => (showMode(), edited()) });
  $("model").addEventListener("change", () => fillOptions());
  $("size").addEventListener("change", askForSize);
  $("picture-file").addEventListener("change", (event) => {
    if (event.target.files[0]) take(event.target.files[0]);
    event.target.value = "";
  });
  $("picture-remove").addEventListener("click", () => showPicture(null));
  $("source-leave").addEventListener("click", leaveSource);
  $("advanced-toggle").addEventListener("click", () => showAdvanced($("advanced").hidden));
  for (const idea of document.querySelectorAll("[data-copy]")) idea.closest(".menu")?.addEventListener("click", closeMenu);
  const draft = shelf.readDraft();
  for (const name of FIELDS) if (draft[name]) $(name).dataset.wanted = draft[name];
  for (const name of ["prompt", "seed", "negative", "steps", "guidance"]) $(name).value = draft[name] ?? "";
  if (draft.takes) $("takes").value = draft.takes;
  story.set(draft.story);
  showPicture(draft.picture ?? null);
  if (draft.negative || draft.steps || draft.guidance || draft.solver) showAdvanced(true);
  grow();
  showMode();
}

function closeMenu() {
  $("composer-copy").open = false;
}

export function focus() {
  $("prompt").focus();
  $("composer").scrollIntoView({ block: "center", behavior: "smooth" });
}

function edited() {
  repeatKey = null;
  complain("");
  grow();
  keep();
  showGo();
}

function keep() {
  if (mode !== "create") return;
  shelf.keepDraft({ ...Object.fromEntries(FIELDS.map((name) => [name, $(name).value])), picture, story: story.read() });
}

function grow() {
  const box = $("prompt");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

function showAdvanced(isOpen) {
  $("advanced").hidden = !isOpen;
  $("advanced-toggle").setAttribute("aria-expanded", String(isOpen));
}

export function setModels(list) {
  models = list;
  fillOptions();
}

const present = () => models.find((model) => model.id === $("model").value) ?? models.find((model) => model.id === model.served_model) ?? models[0];

export const servedModel = (name) => named(name)?.served_model ?? name;
const named = (name) => models.find((model) => model.id === name);

// An edit of a video is made by the model that made it.
const makerOf = (video) => named(video?.served_model) ?? present();

// What can be done to a video: what its maker can, while there is a length left that it may get.
export function canChange(kind, video) {
  const model = makerOf(video);
  if (!model?.edits?.includes(kind)) return false;
  return !LENGTHENED[kind] || !video.seconds || LENGTHENED[kind](video, model).length > 0;
}

const takesPicture = (model) => !model?.inputs || model.inputs.includes("image"); // before a worker has said it, perhaps

function choose(select, options, wanted, takesOthers = true) {
  const value = wanted ?? select.dataset.wanted ?? select.value;
  delete select.dataset.wanted;
  const has = options.some(([name]) => name === value);
  const more = value && !has && takesOthers ? [[value, select === $("seconds") ? t("seconds", value) : value]] : [];
  select.replaceChildren(...[...options, ...more].map(([name, shown]) => new Option(shown, name)));
  select.value = has || more.length ? value : options[0]?.[0] ?? "";
}

// What the chosen model can make, offered; before a worker has said it, the model's own choice.
export function fillOptions() {
  const own = models.filter((model) => model.id === model.served_model);
  choose($("model"), (own.length ? own : models).map((model) => [model.id, model.id]), undefined, false);
  $("model-pill").hidden = own.length < 2;
  const model = present();
  choose($("size"), [...sizesOf(model), ["other", t("custom")]]);
  if (LENGTHENED[mode]) choose($("seconds"), LENGTHENED[mode](source, makerOf(source)), undefined, false);
  else choose($("seconds"), lengthsOf(model));
  choose($("solver"), [["", t("modelDefault")], ...(model?.solvers ?? []).map((name) => [name, name])]);
  $("steps").placeholder = model?.default_steps ?? t("modelDefault");
  $("guidance").placeholder = model?.default_guidance ?? t("modelDefault");
  story.offer(model?.seconds_step, model?.edits?.includes("storyboard") ?? false);
  showMode();
}

function sizesOf(model) {
  if (!model?.default_size) return [["", t("modelDefault")]];
  const [width, height] = model.default_size.split("x").map(Number);
  const { width: across, height: down } = model.size_multiples;
  const area = width * height;
  const found = new Map([[model.default_size, `${width} × ${height}`]]);
  for (const [wide, high] of ASPECTS) {
    const w = Math.max(across, Math.round(Math.sqrt((area * wide) / high) / across) * across);
    const h = Math.max(down, Math.round(Math.sqrt((area * high) / wide) / down) * down);
    if (w * h <= model.max_pixels) found.set(`${w}x${h}`, `${w} × ${h}`);
  }
  return [...found];
}

const frameStride = (model) => Number(/\d+/.exec(model?.frames ?? "")?.[0] ?? 1);

const toMilliseconds = (seconds) => Math.round(1000 * seconds) / 1000;
const lengthOption = (seconds) => [String(toMilliseconds(seconds)), t("seconds", toMilliseconds(seconds))];

// Lengths of a new video, the usual one first.
function lengthsOf(model) {
  if (!model?.default_fps) return [["", t("modelDefault")]];
  const usual = Number(model.default_seconds);
  const fits = (s) => Number.isInteger((s * model.default_fps) / frameStride(model)) && s <= model.max_seconds;
  const others = LENGTHS.filter((s) => s !== usual && fits(s));
  return [usual, ...others].map(lengthOption);
}

// Edits that make a video longer, in whole steps of their maker at the video's own rate.
const LENGTHENED = {
  // How long it may become.
  extend: (video, model) => stepsOf(video, model, [...LENGTHS, Number(model.default_seconds ?? 1)]).map((more) => lengthOption(lasts(video) + more)),

  // How long the way back to its beginning may be: a second or so, unless its maker knows better.
  loop: (video, model) => {
    const found = stepsOf(video, model, Array.from({ length: 8 }, (_, i) => (i + 1) / 2));
    const usual = found.find((seconds) => seconds >= 1) ?? found[0];
    return found.length ? [usual, ...found.filter((seconds) => seconds !== usual)].map(lengthOption) : [];
  },
};

const lasts = (video) => (video.frames && video.fps ? (video.frames - 1) / video.fps : Number(video.seconds));

// How much of these lengths a video may get longer by, each as near as whole steps come, as far as the server lets it.
function stepsOf(video, model, lengths) {
  const step = frameStride(model) / (video.fps ?? model?.default_fps ?? 1);
  const most = Math.min(model?.max_seconds ?? Infinity, (model?.max_extended_seconds ?? Infinity) - lasts(video));
  const found = new Set([step, ...lengths].map((seconds) => step * Math.max(1, Math.round(seconds / step))));
  return [...found].filter((seconds) => seconds <= most + 1e-6).sort((a, b) => a - b);
}

function askForSize() {
  if ($("size").value !== "other") return;
  const asked = prompt(t("customAsk"), present()?.default_size ?? "")?.trim().toLowerCase().replace("×", "x");
  choose($("size"), [...sizesOf(present()), ["other", t("custom")]], /^\d+x\d+$/.test(asked ?? "") ? asked : present()?.default_size);
  edited();
}

// --- where the video comes from

// `video` is one that is here, or one from elsewhere with its `file`, of which the model gets whole latent frames.
export async function startFrom(kind, video) {
  if (video.file) video = { ...video, seconds: wholeSeconds(video.seconds ?? 0, present()) };
  mode = kind;
  source = video;
  picture = null;
  $("prompt").value = video.prompt;
  $("seed").value = kind === "remix" ? video.seed ?? "" : "";
  const usual = kind === "extend" ? String(toMilliseconds(lasts(video) + Number(makerOf(video)?.default_seconds ?? 0))) : "";
  if (LENGTHENED[kind]) choose($("seconds"), LENGTHENED[kind](video, makerOf(video)), usual, false);
  $("source-what").textContent = t({ remix: "remixOf", extend: "extensionOf", loop: "loopOf" }[kind]);
  $("source-prompt").textContent = video.file ? video.file.name : video.prompt;
  $("source-image").src = video.file ? video.thumbnail : await api.mediaAddress(video.id, "thumbnail");
  repeatKey = null;
  complain("");
  showMode();
  grow();
  focus();
  $("prompt").select();
}

// About how much of a video from elsewhere is left at the model's rate; the server counts its frames.
function wholeSeconds(seconds, model) {
  const step = model?.seconds_step ?? 1;
  const frames = Math.max(1, Math.ceil(seconds * (model?.default_fps ?? 1) - 0.25));
  return Math.floor((frames - 1) / (model?.default_fps ?? 1) / step + 1e-6) * step;
}

function leaveSource() {
  mode = "create";
  source = null;
  const draft = shelf.readDraft();
  $("prompt").value = draft.prompt ?? "";
  $("seed").value = draft.seed ?? "";
  $("seconds").dataset.wanted = draft.seconds ?? "";
  picture = draft.picture ?? null;
  fillOptions();
  complain("");
  showMode();
  grow();
  focus();
}

function showMode() {
  $("source").hidden = mode === "create";
  for (const node of document.querySelectorAll("#composer [data-only]")) {
    if (node.id !== "advanced") node.classList.toggle("absent", !node.dataset.only.split(" ").includes(mode));
  }
  $("advanced").classList.toggle("absent", mode !== "create");
  const length = $("seconds-pill").firstElementChild;
  length.dataset.t = { extend: "newLength", loop: "wayBack" }[mode] ?? "length";
  length.textContent = t(length.dataset.t);
  $("seconds-pill").hidden = mode === "create" && story.isOn(); // the scenes have their own
  showPicture(picture);
  showGo();
}

export function showGo() {
  const many = mode === "create" ? Number($("takes").value) : 1;
  $("go").querySelector("kbd").hidden = many > 1; // one row holds the longer words or this
  $("go-word").textContent = mode === "create" ? (many > 1 ? t("makeMany", many) : t("make")) : t(mode);
}

// Puts settings into the box: of a video that is here, or of a record read from a file.
export function reuse(settings) {
  mode = "create";
  source = null;
  if (settings.model && models.some((model) => model.id === settings.model)) $("model").dataset.wanted = settings.model;
  for (const name of ["size", "seconds"]) if (settings[name]) $(name).dataset.wanted = String(settings[name]);
  fillOptions();
  for (const name of ["prompt", "seed", "negative", "steps", "guidance"]) $(name).value = settings[name] ?? "";
  const solver = settings.solver === present()?.default_solver ? "" : settings.solver ?? "";
  $("solver").value = solver;
  $("takes").value = "1";
  story.setCards(settings.storyboard, settings.seconds);
  picture = null;
  showAdvanced(Boolean(settings.negative || solver) || String(settings.steps ?? "") !== String(present()?.default_steps ?? "") || String(settings.guidance ?? "") !== String(present()?.default_guidance ?? ""));
  showMode();
  edited();
  focus();
}

export function useIdea(text) {
  $("prompt").value = text;
  edited();
  focus();
}

// --- the first picture

export async function setPicture(file) {
  if (!takesPicture(present())) return complain(t("noPicture", present().id));
  const address = URL.createObjectURL(file);
  try {
    const image = await load(address);
    const scale = Math.min(1, 1920 / Math.max(image.naturalWidth, image.naturalHeight));
    showPicture(draw(image, Math.round(image.naturalWidth * scale), Math.round(image.naturalHeight * scale)).toDataURL("image/webp", 0.95));
    edited();
  } catch {
    complain(t("notMedia", file.name));
  } finally {
    URL.revokeObjectURL(address);
  }
}

function showPicture(address) {
  picture = address;
  $("picture").hidden = !address || mode !== "create" || !takesPicture(present());
  if (address) $("picture").querySelector("img").src = address;
  $("composer-copy").classList.toggle("absent", Boolean(source?.file) || !$("picture").hidden); // text holds no file
  keep();
}

async function load(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

function draw(image, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const scale = Math.max(width / image.naturalWidth, height / image.naturalHeight); // fill it, and cut off the rest
  const [w, h] = [image.naturalWidth * scale, image.naturalHeight * scale];
  canvas.getContext("2d").drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
  return canvas;
}

async function pictureFile(size) {
  if (!picture || !takesPicture(present())) return null;
  const image = await load(picture);
  const [width, height] = size ? size.split("x").map(Number) : [image.naturalWidth, image.naturalHeight];
  return new Promise((resolve) => draw(image, width, height).toBlob(resolve, "image/png"));
}

// --- sending

const clean = (body) => Object.fromEntries(Object.entries(body).filter(([, value]) => value !== "" && value != null));

// What the box asks for, in the fields of the API.
export function asked() {
  if (source?.file) return clean(askedOfFile());
  if (mode === "extend") return clean({ prompt: $("prompt").value, seconds: $("seconds").value, seed: number("seed"), video: source.id });
  if (mode === "loop") return clean({ prompt: $("prompt").value, seed: number("seed"), video: source.id, edit: { kind: "loop", seconds: Number($("seconds").value) } });
  const own = { prompt: $("prompt").value, model: $("model").value, size: $("size").value, seconds: $("seconds").value, seed: number("seed") };
  if (mode === "remix") return clean({ ...own, model: source.model, size: source.size, seconds: source.seconds });
  if (story.isOn()) Object.assign(own, { seconds: String(story.total()), storyboard: story.cards() });
  return clean({ ...own, negative_prompt: $("negative").value, num_inference_steps: number("steps"), guidance_scale: number("guidance"), solver: $("solver").value });
}

// The same for the clipboard: of an edit, beside what is changed, what it keeps of its source.
export function toCopy() {
  const body = asked();
  if (mode === "create") return body;
  const edit = { extend: { kind: "extend", seconds: toMilliseconds(body.seconds - lasts(source)), direction: "forward" }, loop: body.edit }[mode];
  const kind = { remix: "remix", extend: "extend", loop: "edit" }[mode];
  const has_uploads = mode === "remix" && source.has_uploads;
  return requestOf({ ...source, ...body, kind, parent_id: source.id, edit_settings: edit ?? source.edit_settings, has_uploads });
}

function askedOfFile() {
  const own = { prompt: $("prompt").value, model: $("model").value, seed: number("seed") };
  if (mode === "extend") return { ...own, seconds: $("seconds").value };
  return { ...own, edit: mode === "loop" ? { kind: "loop", seconds: Number($("seconds").value) } : { kind: mode } };
}

// A number as a number, and anything else as it is: the server says what is wrong with it.
function number(name) {
  const text = $(name).value.trim();
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

async function send() {
  if ($("go").getAttribute("aria-busy") === "true") return;
  if (!$("prompt").value.trim()) return $("prompt").focus();
  if (mode === "create" && story.empty() >= 0) return story.focus(story.empty());
  $("go").setAttribute("aria-busy", "true");
  try {
    repeatKey ??= Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (mode === "create") await sendTakes();
    else await shelf.learn(sendChange);
    repeatKey = null;
    if (mode !== "create") leaveSource();
    $("prompt").select(); // to be changed and sent again, or typed over
    complain("");
    onSent();
  } catch (error) {
    if (error instanceof api.Away) complain(t("awayHelp"));
    else if (error instanceof api.Refused) complain(error.message, error.param);
    else throw error;
  } finally {
    $("go").removeAttribute("aria-busy");
  }
}

async function sendTakes() {
  const body = asked();
  const file = await pictureFile(body.size);
  for (let take = 0; take < Number($("takes").value); take += 1) {
    const one = typeof body.seed === "number" ? { ...body, seed: body.seed + take } : body;
    await shelf.learn(() => api.createVideo("/v1/videos", one, file, `${repeatKey}-${take}`));
  }
}

function sendChange() {
  const body = asked();
  if (source.file) return api.createVideo(mode === "extend" ? "/v1/videos/extensions" : "/v1/videos/edits", body, source.file, repeatKey, "video");
  if (mode === "remix") return api.createVideo(`/v1/videos/${source.id}/remix`, clean({ prompt: body.prompt, seed: body.seed }), null, repeatKey);
  return api.createVideo(mode === "loop" ? "/v1/videos/edits" : "/v1/videos/extensions", { ...body, video: { id: source.id } }, null, repeatKey);
}

const INPUTS = { negative_prompt: "negative", num_inference_steps: "steps", guidance_scale: "guidance", width: "size", height: "size", frames: "seconds" };

export function complain(message, param) {
  $("complaint").textContent = message;
  for (const name of FIELDS) $(name).removeAttribute("aria-invalid");
  const field = $(INPUTS[param] ?? param);
  if (!message || !FIELDS.includes(field?.id)) return;
  if (field.closest("#advanced")) showAdvanced(true);
  field.setAttribute("aria-invalid", "true");
  field.focus();
}
