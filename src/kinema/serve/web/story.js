// The timeline: scenes that follow one another in one video, each with its words and its length.

import { t } from "./words.js";

const $ = (id) => document.getElementById(id);
const MOST = 12;

let scenes = []; // after the first, whose words are those of the prompt: { prompt, seconds }
let first = 0; // seconds of the first scene; 0 while there is no timeline
let step = 0.5;
let onChange = () => {};

export const isOn = () => first > 0;
export const total = () => round(scenes.reduce((sum, scene) => sum + scene.seconds, first));
export const read = () => (isOn() ? { first, scenes } : null);

// The later scenes as the API has them: what is shown from which second on.
export function cards() {
  let second = first;
  return scenes.map(({ prompt, seconds }) => {
    const card = { second: round(second), prompt };
    second += seconds;
    return card;
  });
}

export function setUp({ changed }) {
  onChange = changed;
  $("story-toggle").addEventListener("click", () => (isOn() ? clear() : open()));
  $("story-add").addEventListener("click", add);
}

// What the chosen model makes: lengths are multiples of `seconds`; a model without storyboards is not offered one.
export function offer(seconds, isAble) {
  step = seconds || 0.5;
  $("story-toggle").hidden = !isAble;
  if (!isAble && isOn()) clear();
  else show();
}

export function set(kept) {
  first = kept?.first ?? 0;
  scenes = (kept?.scenes ?? []).map((scene) => ({ ...scene }));
  show();
}

// From the cards of a video and its length.
export function setCards(list, seconds) {
  if (!list?.length) return set(null);
  const ends = [...list.slice(1).map((card) => card.second), Number(seconds)];
  return set({ first: list[0].second, scenes: list.map((card, i) => ({ prompt: card.prompt ?? "", seconds: round(ends[i] - card.second) })) });
}

export function empty() {
  return scenes.findIndex((scene) => !scene.prompt.trim());
}

export function focus(number) {
  $("story-list").querySelectorAll("textarea")[number]?.focus();
}

function open() {
  first = usual();
  scenes = [{ prompt: "", seconds: usual() }];
  change();
  focus(0);
}

function clear() {
  first = 0;
  scenes = [];
  change();
}

function add() {
  scenes.push({ prompt: "", seconds: scenes.at(-1)?.seconds ?? usual() });
  change();
  focus(scenes.length - 1);
}

function remove(number) {
  scenes.splice(number, 1);
  if (!scenes.length) {
    clear();
    return $("story-toggle").focus();
  }
  change();
  return focus(Math.min(number, scenes.length - 1));
}

// Scene 0 is the prompt itself.
function swap(number, other) {
  const words = [$("prompt").value, ...scenes.map((scene) => scene.prompt)];
  const lengths = [first, ...scenes.map((scene) => scene.seconds)];
  for (const list of [words, lengths]) [list[number], list[other]] = [list[other], list[number]];
  $("prompt").value = words[0];
  first = lengths[0];
  scenes = words.slice(1).map((prompt, i) => ({ prompt, seconds: lengths[i + 1] }));
  change();
  const row = $("story-list").children[other];
  const direction = other < number ? "up" : "down";
  (row.querySelector(`[data-move=${direction}]:not(:disabled)`) ?? row.querySelector("[data-move]:not(:disabled)"))?.focus();
}

function change() {
  show();
  onChange();
}

const round = (seconds) => Math.round(1000 * seconds) / 1000;
const usual = () => step * Math.max(1, Math.round(1 / step));

function show() {
  $("story").hidden = !isOn();
  $("story-toggle").setAttribute("aria-expanded", String(isOn()));
  if (!isOn()) return $("story-list").replaceChildren();
  const rows = [{ prompt: null, seconds: first }, ...scenes].map(row);
  $("story-list").replaceChildren(...rows);
  $("story-add").disabled = scenes.length + 1 >= MOST;
  showTimes();
  return undefined;
}

function showTimes() {
  let from = 0;
  const all = [first, ...scenes.map((scene) => scene.seconds)];
  $("story-reel").replaceChildren(...all.map((seconds, i) => Object.assign(document.createElement("i"), { textContent: i + 1, style: `flex-grow: ${seconds}` })));
  [...$("story-list").children].forEach((item, i) => {
    item.querySelector(".when").textContent = t("sceneTime", round(from), round(from + all[i]));
    from += all[i];
  });
  $("story-total").textContent = t("storyTotal", total());
}

function row({ prompt, seconds }, number) {
  const item = document.createElement("li");
  const when = Object.assign(document.createElement("span"), { className: "when" });
  item.append(when, prompt === null ? firstWords() : words(number, prompt), length(number, seconds), moves(number));
  return item;
}

function firstWords() {
  return Object.assign(document.createElement("p"), { textContent: t("sceneFirst") });
}

function words(number, prompt) {
  const box = Object.assign(document.createElement("textarea"), { rows: 1, maxLength: 32000, value: prompt, placeholder: t("sceneHint") });
  box.setAttribute("aria-label", t("scenePrompt", number + 1));
  box.addEventListener("input", () => {
    scenes[number - 1].prompt = box.value;
    grow(box);
  });
  requestAnimationFrame(() => grow(box));
  return box;
}

function grow(box) {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

function length(number, seconds) {
  const select = document.createElement("select");
  const lengths = Array.from({ length: Math.max(8, Math.round(5 / step)) }, (_, i) => round((i + 1) * step));
  if (!lengths.includes(seconds)) lengths.push(seconds);
  select.append(...lengths.sort((a, b) => a - b).map((each) => new Option(t("seconds", each), each, false, each === seconds)));
  select.setAttribute("aria-label", t("sceneLength", number + 1));
  select.addEventListener("change", () => {
    if (number) scenes[number - 1].seconds = Number(select.value);
    else first = Number(select.value);
    showTimes();
    onChange();
  });
  return select;
}

function moves(number) {
  const group = Object.assign(document.createElement("span"), { className: "moves" });
  group.append(
    act("i-up", t("sceneUp", number + 1), number > 0, () => swap(number, number - 1), "up"),
    act("i-down", t("sceneDown", number + 1), number < scenes.length, () => swap(number, number + 1), "down"),
    act("i-close", t("sceneRemove", number + 1), number > 0, () => remove(number - 1)),
  );
  return group;
}

function act(icon, label, isAble, does, move) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet icon", title: label, disabled: !isAble });
  button.setAttribute("aria-label", label);
  if (move) button.dataset.move = move;
  button.innerHTML = `<svg><use href="#${icon}"/></svg>`;
  button.addEventListener("click", does);
  return button;
}
