// Two videos over each other, in step, with a line between them that can be moved.

import * as api from "./api.js";
import { t } from "./words.js";
import { comparable } from "./viewer.js";

const $ = (id) => document.getElementById(id);

export function setUp() {
  $("compare-close").addEventListener("click", () => $("compare").close());
  $("compare").addEventListener("close", () => {
    for (const film of films()) {
      film.pause();
      film.removeAttribute("src");
      film.load();
    }
  });
  $("compare").addEventListener("click", (event) => event.target === $("compare") && $("compare").close());
  $("wipe").addEventListener("input", showWipe);
  $("pair").addEventListener("pointermove", (event) => {
    if (!event.isPrimary) return;
    const box = $("pair").getBoundingClientRect();
    $("wipe").value = String((100 * (event.clientX - box.left)) / box.width);
    showWipe();
  });
}

const films = () => [...$("pair").querySelectorAll("video")];

function showWipe() {
  $("pair").style.setProperty("--at", `${$("wipe").value}%`);
}

export async function open(a, b) {
  $("wipe").value = "50";
  showWipe();
  const [width, height] = (a.size || "1x1").split("x").map(Number);
  $("pair").style.setProperty("--aspect", String(width / height));
  $("compare").showModal();
  showDifferences(comparable(a), comparable(b));
  const [first, second] = films();
  for (const [film, video] of [[first, a], [second, b]]) {
    film.setAttribute("aria-label", video.prompt);
    film.src = await api.mediaAddress(video.id, "video");
  }
  await Promise.all(films().map((film) => new Promise((ready) => film.addEventListener("canplay", ready, { once: true }))));
  first.ontimeupdate = () => {
    if (Math.abs(first.currentTime - second.currentTime) > 0.12 && first.currentTime < second.duration) second.currentTime = first.currentTime;
  };
  for (const film of films()) {
    film.currentTime = 0;
    film.play().catch(() => {});
  }
}

function showDifferences(a, b) {
  const rows = Object.keys(a).filter((name) => a[name] != null || b[name] != null);
  $("differences").tBodies[0].replaceChildren(
    ...rows.map((name) => {
      const row = document.createElement("tr");
      row.classList.toggle("differs", String(a[name] ?? "") !== String(b[name] ?? ""));
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = t(`facts.${name}`);
      row.append(head);
      for (const value of [a[name], b[name]]) row.insertCell().textContent = value ?? "–";
      return row;
    }),
  );
}
