// Starts the page, and ties its parts together.

import * as api from "./api.js";
import * as cards from "./cards.js";
import * as clip from "./clip.js";
import * as compare from "./compare.js";
import * as composer from "./composer.js";
import * as shelf from "./shelf.js";
import * as viewer from "./viewer.js";
import { currentLanguage, setLanguage, t, translate } from "./words.js";

const $ = (id) => document.getElementById(id);
const READY_MS = 5000;
const TOAST_MS = 3200;

// --- what the page says

let toastEnds = null;

function toast(message, lastsMs = TOAST_MS) {
  $("toast").textContent = message;
  $("toast").classList.add("is-shown");
  const open = document.querySelector("dialog[open]");
  (open ?? document.body).append($("toast")); // a dialog lies over all else
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => $("toast").classList.remove("is-shown"), lastsMs);
}

function banner(message) {
  $("banner").hidden = !message;
  $("banner").textContent = message;
}

let server = { state: "loading", words: [] };

function showServer(state = server.state, ...words) {
  server = { state, words };
  $("server").dataset.state = state;
  $("server").lastElementChild.textContent = t(state, ...words);
  const help = { away: "awayHelp", noWorker: "noWorkerHelp" }[state];
  banner(help ? t(help) : "");
}

async function lookAtServer() {
  try {
    const { data: models, workers } = await api.listModels();
    composer.setModels(models);
    const own = models.filter((model) => model.id === model.served_model).map((model) => model.id);
    showServer(workers ? "ready" : "noWorker", own.map((name) => name.split("/").at(-1)).join(", "));
  } catch (error) {
    if (!(error instanceof api.Away || error instanceof TypeError)) throw error;
    showServer("away");
  }
}

// --- the key

let keyAsked = null;

function askForKey() {
  keyAsked ??= new Promise((resolve) => {
    $("key").value = "";
    $("key-dialog").showModal();
    $("key-form").onsubmit = async (event) => {
      event.preventDefault();
      const key = $("key").value.trim();
      if (!key || !(await api.isKeyRight(key))) {
        $("key-complaint").textContent = t("keyWrong");
        $("key").setAttribute("aria-invalid", "true");
        return $("key").focus();
      }
      api.setKey(key);
      $("key-complaint").textContent = "";
      $("key-dialog").close();
      resolve();
    };
  }).finally(() => {
    keyAsked = null;
  });
  return keyAsked;
}

// --- comparing

let first = null;

function pickForCompare(video) {
  first = video;
  $("pick").hidden = false;
  document.body.classList.add("is-picking");
  $("pick").scrollIntoView({ block: "nearest" });
}

function leavePick() {
  first = null;
  $("pick").hidden = true;
  document.body.classList.remove("is-picking");
}

function openVideo(id) {
  const other = shelf.get(id);
  if (!first) return viewer.open(id);
  if (other.id === first.id) return undefined;
  const a = first;
  leavePick();
  return compare.open(a, other);
}

// --- files that are dropped

async function takeFile(file) {
  if (file.type.startsWith("image/")) return composer.setPicture(file);
  if (!["video/mp4", "video/webm"].includes(file.type) && !/\.(mp4|m4v|webm)$/i.test(file.name)) return composer.complain(t("notMedia", file.name));
  return clip.open(file);
}

function setUpDrop() {
  let depth = 0;
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (isFile(event) && (depth += 1)) $("drop").hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (isFile(event) && (depth -= 1) <= 0) $("drop").hidden = true;
  });
  addEventListener("dragover", (event) => isFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    depth = 0;
    $("drop").hidden = true;
    viewer.close();
    takeFile(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (file) takeFile(file);
  });
}

// --- keys

const VIEWER_KEYS = { f: "favourite", r: "remix", e: "extend", l: "loop", u: "reuse", c: "compare" };
const PAGE_KEYS = { n: () => composer.focus(), "/": () => $("search").focus(), "?": showKeys };

function showKeys() {
  const rows = t("keyList").map(([key, what]) => {
    const row = document.createElement("div");
    const name = document.createElement("dt");
    name.append(...key.split("  ").map((each) => Object.assign(document.createElement("kbd"), { textContent: each })));
    row.append(name, Object.assign(document.createElement("dd"), { textContent: what }));
    return row;
  });
  $("keys-list").replaceChildren(...rows);
  $("keys-dialog").showModal();
}

function onKey(event) {
  if (event.metaKey || event.ctrlKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "Escape" && first) leavePick();
  if (viewer.openId()) return onViewerKey(event);
  if (document.querySelector("dialog[open]") || !PAGE_KEYS[event.key.toLowerCase()]) return;
  event.preventDefault();
  PAGE_KEYS[event.key.toLowerCase()]();
}

function onViewerKey(event) {
  const key = event.key.toLowerCase();
  const film = $("viewer-video");
  if (event.target === film) return;
  if (key === "arrowright") viewer.neighbour(1);
  else if (key === "arrowleft") viewer.neighbour(-1);
  else if (key === " " && !event.target.closest("button, a, summary")) {
    event.preventDefault();
    if (film.paused) film.play();
    else film.pause();
  } else if (VIEWER_KEYS[key]) {
    event.preventDefault(); // or the letter would be typed into what gets the focus
    viewer.perform(VIEWER_KEYS[key]);
  }
}

// --- language and colours

const THEMES = ["auto", "light", "dark"];

function showTheme() {
  const theme = document.documentElement.dataset.theme;
  $("theme").querySelector("use").setAttribute("href", { auto: "#i-auto", light: "#i-sun", dark: "#i-moon" }[theme]);
  $("theme").setAttribute("aria-label", t(`theme.${theme}`));
  $("theme").title = t(`theme.${theme}`);
}

function showWords() {
  translate();
  const isChinese = currentLanguage() === "zh";
  $("language").textContent = isChinese ? "English" : "中文";
  $("language").lang = isChinese ? "en" : "zh-CN";
  $("ideas").replaceChildren(
    ...t("ideas").map((idea) => {
      const item = document.createElement("li");
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: idea });
      button.addEventListener("click", () => composer.useIdea(idea));
      item.append(button);
      return item;
    }),
  );
  showServer(server.state, ...server.words);
  showTheme();
}

function setUpHead() {
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
    localStorage.setItem("kinema.theme", root.dataset.theme);
    showTheme();
  });
  $("language").addEventListener("click", () => {
    setLanguage(currentLanguage() === "zh" ? "en" : "zh");
    showWords();
    composer.fillOptions();
    cards.redraw();
  });
  $("show-keys").addEventListener("click", showKeys);
  $("keys-close").addEventListener("click", () => $("keys-dialog").close());
  $("pick-leave").addEventListener("click", leavePick);
  $("composer-copy").addEventListener("click", (event) => {
    const kind = event.target.closest("[data-copy]")?.dataset.copy;
    if (kind) viewer.copyAs(kind, composer.toCopy());
  });
}

// --- start

function followHash() {
  const id = location.hash.slice(1);
  if (!id && viewer.openId()) viewer.close();
  else if (id && viewer.openId() !== id) viewer.open(id);
}

async function start() {
  api.whenKeyIsWanted(askForKey);
  composer.setUp({ sent: () => $("works").scrollIntoView({ block: "nearest", behavior: "smooth" }), take: takeFile });
  clip.setUp({ toast });
  cards.setUp({ open: openVideo });
  viewer.setUp({ toast, compare: pickForCompare });
  compare.setUp();
  setUpHead();
  setUpDrop();
  showWords();
  addEventListener("keydown", onKey);
  addEventListener("popstate", followHash);
  viewer.findAbilities();
  setInterval(lookAtServer, READY_MS);
  let isFirst = true;
  await api.follow({
    onEvent: async (type, event) => {
      const finished = await shelf.takeIn(type, event);
      if (finished) toast(t("done", finished.prompt));
    },
    onOpen: async () => {
      await Promise.all([lookAtServer(), shelf.refresh()]);
      cards.loaded();
      if (isFirst) followHash();
      isFirst = false;
    },
    onAway: () => showServer("away"),
  });
}

start();
