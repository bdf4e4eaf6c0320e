// A video from elsewhere: what it is, and what may be done with it. It stays in the browser until something is asked for.

import * as composer from "./composer.js";
import { readRecord } from "./mp4.js";
import { t } from "./words.js";

const $ = (id) => document.getElementById(id);

let clip = null; // the file, its length, its first picture, and the record in it, if there is one
let say = () => {};

export function setUp({ toast }) {
  say = toast;
  $("clip-close").addEventListener("click", () => $("clip").close());
  $("clip").addEventListener("close", () => {
    URL.revokeObjectURL($("clip-video").src);
    $("clip-video").removeAttribute("src");
  });
  $("clip").addEventListener("click", (event) => {
    if (event.target === $("clip")) $("clip").close(); // beside it
    const act = event.target.closest("[data-clip]")?.dataset.clip;
    if (act) perform(act);
  });
}

export async function open(file) {
  const record = await readRecord(file);
  clip = { file, record, prompt: record?.spec.prompt ?? "", seconds: null, thumbnail: "" };
  $("clip-name").textContent = file.name;
  $("clip-prompt").textContent = clip.prompt;
  $("clip-reuse").hidden = !record;
  showWays();
  const film = $("clip-video");
  film.onloadeddata = () => {
    Object.assign(clip, { seconds: film.duration, thumbnail: pictureOf(film) });
    showWays();
  };
  film.onerror = () => showWays(t("clipUnplayed"));
  film.src = URL.createObjectURL(file);
  if (!$("clip").open) $("clip").showModal();
}

function pictureOf(film) {
  const height = 80;
  const canvas = Object.assign(document.createElement("canvas"), { height, width: Math.round((height * film.videoWidth) / film.videoHeight) });
  canvas.getContext("2d").drawImage(film, 0, 0, canvas.width, height);
  return canvas.toDataURL("image/webp");
}

// What the chosen model can make of it; how long it would become is known only of a video that plays here.
function showWays(problem = "") {
  $("clip-length").textContent = problem || (clip.seconds ? t("seconds", Math.round(100 * clip.seconds) / 100) : "");
  for (const button of $("clip").querySelectorAll("[data-clip]")) {
    const act = button.dataset.clip;
    if (act !== "reuse") button.hidden = !composer.canChange(act, {}) || (act === "extend" && !clip.seconds);
  }
}

function perform(act) {
  $("clip").close();
  if (act !== "reuse") return composer.startFrom(act, clip);
  const { spec } = clip.record;
  const seconds = spec.seconds ?? (spec.frames && spec.fps ? (spec.frames - 1) / spec.fps : null);
  composer.reuse({ ...spec, storyboard: spec.edit?.cards, size: spec.width && spec.height ? `${spec.width}x${spec.height}` : null, seconds });
  return say(clip.record.image_sha256 ? t("reusedWithoutPicture") : t("reloaded"));
}
