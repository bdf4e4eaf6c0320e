// The page of `kinema data browse`: the question lies in the address, the answer in the grid.

const at = id => document.getElementById(id);
const form = at("question"), grid = at("clips"), dialog = at("detail");
const PAGE = 60;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const LABELS = {
  uri: "File", seconds: "Length", num_frames: "Frames", num_bytes: "Bytes", fps: "Frame rate", damaged_frames: "Damaged frames",
  clipped_share: "Clipped light", black_share: "Black pictures", frozen_share: "Frozen pictures", text_share: "Text", watermark_share: "Marks",
  nsfw: "NSFW", hash_detail: "Detail", start_s: "Start", end_s: "End", first_frame: "First frame", caption_tokens_in: "Caption tokens in",
  caption_tokens_out: "Caption tokens out", caption_cost: "Caption cost",
};
const SCORES = ["motion", "codec_motion", "sharpness", "brightness", "contrast", "clipped_share", "flicker", "black_share", "frozen_share", "text_share", "watermark_share", "aesthetic", "nsfw"];
const UNITS = {seconds: " s", start_s: " s", end_s: " s", fps: " per second"};

let facts = {ranges: {}, numbers: []};
let shown = [], total = 0, turn = 0, opened = -1, busy = false;
const extra = {reason: "", cluster: "", low: "", high: ""};

// --- small things

function make(name, kind, words) {
  const node = document.createElement(name);
  if (kind) node.className = kind;
  if (words !== undefined) node.textContent = words;
  return node;
}
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const label = name => LABELS[name] ?? (name[0].toUpperCase() + name.slice(1)).replace(/_share$/, "").replaceAll("_", " ");
function number(value) {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return Math.abs(value) < 0.0001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}
// what a clip was dropped for, without the name of the clip that it looks like
const reasonOf = clip => (clip.drop_reason || clip.split_reason || "").replace(/^looks like [0-9a-f]{32}$/, "looks like another clip");
const seconds = clip => clip.end_s - clip.start_s;
const expression = column => column === "seconds" ? "(end_s - start_s)" : column;

// names that are not UTF-8 come percent-encoded, and some cannot be decoded
function fileName(row) {
  const name = row.uri.split("/").pop();
  try { return row.uri.includes("://") ? decodeURIComponent(name) : name; } catch { return name; }
}
// one that is too long for its line is broken behind a mark, not in the middle of a word
function named(name, kind, row) {
  const node = make(name, kind);
  for (const part of fileName(row).split(/(?<=[_.-])(?![_.-])/)) node.append(part, make("wbr"));
  return node;
}

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

function say(words, wrong = false) {
  at("message").textContent = words;
  at("message").classList.toggle("wrong", wrong);
}

// --- the question

const state = () => form.elements.state.value;
const isDown = () => at("order").getAttribute("aria-pressed") === "true";

function question() {
  const asked = {state: state(), text: form.text.value.trim(), camera: form.camera.value, sort: form.sort.value};
  if (extra.reason && state() === "dropped") asked.reason = extra.reason;
  if (extra.cluster) asked.cluster = extra.cluster;
  const column = expression(form.sort.value);
  const range = extra.low === "" ? "" : `${column} >= ${extra.low} AND ${column} <= ${extra.high}`;
  const typed = form.where.value.trim();
  asked.where = typed && range ? `(${typed}) AND ${range}` : typed || range;
  if (isDown()) asked.order = "down";
  return new URLSearchParams(Object.entries(asked).filter(([, value]) => value));
}

function remember() {
  const kept = {state: state(), text: form.text.value.trim(), camera: form.camera.value, sort: form.sort.value, where: form.where.value.trim(), ...extra};
  if (isDown()) kept.order = "down";
  const query = new URLSearchParams(Object.entries(kept).filter(([key, value]) => value && !(key === "state" && value === "kept") && !(key === "sort" && value === "uri")));
  history.replaceState(null, "", (String(query) ? `?${query}` : location.pathname) + (opened >= 0 && shown[opened] ? `#${shown[opened].clip_id}` : ""));
}

function recall() {
  const query = new URLSearchParams(location.search);
  for (const field of ["state", "text", "camera", "sort", "where"]) if (query.has(field)) form.elements[field].value = query.get(field);
  if (!form.sort.value) form.sort.value = "uri";
  for (const key of Object.keys(extra)) extra[key] = query.get(key) ?? "";
  setOrder(query.get("order") === "down");
}

function setOrder(down) {
  at("order").setAttribute("aria-pressed", down);
  at("order").setAttribute("aria-label", down ? "Order: most first" : "Order: least first");
  at("order").title = at("order").getAttribute("aria-label");
  at("order").textContent = down ? "↓" : "↑";
}

function isNarrowed() {
  return Boolean(form.text.value.trim() || form.camera.value || form.where.value.trim() || extra.reason || extra.cluster || extra.low !== "");
}

function clear() {
  form.text.value = form.where.value = form.camera.value = "";
  for (const key of Object.keys(extra)) extra[key] = "";
  show();
}

// --- clips

function card(clip, best = false) {
  const node = make("button", "clip"), picture = make("span", "picture"), words = make("span", "words");
  node.type = "button";
  if (clip.num_bytes === null) {
    picture.append("too short to be a clip");
  } else {
    const image = make("img");
    image.loading = "lazy";
    image.alt = "";
    image.src = `/poster/${clip.clip_id}`;
    picture.append(image);
    const play = () => {
      if (still.matches || picture.querySelector("video")) return;
      const video = make("video");
      Object.assign(video, {src: `/video/${clip.clip_id}`, muted: true, loop: true, autoplay: true, playsInline: true});
      video.onplaying = () => video.classList.add("plays");
      image.after(video);
    };
    const stop = () => picture.querySelector("video")?.remove();
    node.onpointerenter = event => event.pointerType === "mouse" && play();
    node.onpointerleave = stop;
    node.onfocus = () => node.matches(":focus-visible") && play();
    node.onblur = stop;
  }
  const why = reasonOf(clip);
  picture.append(make("span", "length", `${seconds(clip).toFixed(1)} s`));
  if (best && !why) picture.append(make("span", "best", "kept"));
  words.append(clip.caption ? make("b", "", clip.caption) : named("b", "", clip));
  words.append(make("span", "facts", [`${clip.width}×${clip.height}`, clip.camera].filter(Boolean).join(" · ")));
  const sort = form.sort.value;
  if (!["uri", "seconds"].includes(sort) && clip[sort] !== null && clip[sort] !== undefined) words.append(make("span", "facts", `${label(sort)} ${number(clip[sort])}`));
  if (why) words.append(make("span", "why", why));
  node.append(picture, words);
  const place = shown.push(clip) - 1;
  node.dataset.place = place;
  node.onclick = () => open(place);
  return node;
}

function clusterRow(cluster) {
  const row = make("section", "cluster"), inner = make("div", "grid");
  row.append(make("h3", "", `${cluster.clips.length} clips that look alike`));
  inner.append(...cluster.clips.map(clip => card(clip, clip.clip_id === cluster.name)));
  row.append(inner);
  return row;
}

function fileRow(file) {
  const row = make("div", "file"), words = make("span", "why", file.reason);
  const name = named("b", "", file);
  name.title = file.uri;
  row.append(make("span", "", file.status), name, words);
  return row;
}

function chart(bars) {
  const most = Math.max(1, ...bars.counts), column = form.sort.value, step = (bars.high - bars.low) / (bars.counts.length || 1);
  at("chart").hidden = !bars.counts.length || bars.high === bars.low;
  at("bars").replaceChildren(...bars.counts.map((count, k) => {
    const low = bars.low + k * step, high = low + step, node = make("button"), bar = make("i");
    node.type = "button";
    node.disabled = !count;
    bar.style.height = count ? `max(3px, ${100 * count / most}%)` : "0";
    node.title = `${count} from ${number(low)} to ${number(high)}`;
    node.setAttribute("aria-label", `${label(column)} ${number(low)} to ${number(high)}: ${count} clips. Show only these`);
    node.append(bar);
    node.onclick = () => { extra.low = String(low); extra.high = String(k + 1 === bars.counts.length ? bars.high : high); show(); };
    return node;
  }));
  at("low").textContent = number(bars.low) + (UNITS[column] ?? "");
  at("high").textContent = number(bars.high) + (UNITS[column] ?? "");
  at("what").textContent = label(column);
}

function chips() {
  const wanted = state() === "dropped";
  at("reasons").hidden = !wanted || !Object.keys(facts.reasons ?? {}).length;
  if (!wanted) return;
  const all = Object.entries(facts.reasons).sort((one, other) => other[1] - one[1]);
  at("reasons").replaceChildren(...[["", facts.clips - facts.kept], ...all].map(([reason, count]) => {
    const chip = make("button", "", `${reason || "Any reason"} `);
    chip.append(make("b", "", count));
    chip.type = "button";
    chip.setAttribute("aria-pressed", extra.reason === reason);
    chip.onclick = () => { extra.reason = reason; show(); };
    return chip;
  }));
}

const PATHS = {clusters: "/clusters", files: "/files"};

async function show(fresh = true) {
  const mine = fresh ? ++turn : turn;
  if (!fresh && busy) return;
  busy = true;
  if (fresh) { shown = []; total = 0; opened = -1; chips(); remember(); }
  const asked = question();
  asked.set("from", fresh ? 0 : grid.dataset.count);
  asked.set("count", PAGE);
  at("more-filters").querySelector("summary").classList.toggle("used", Boolean(form.camera.value || form.where.value.trim()));
  at("clear").hidden = !isNarrowed();
  const listed = state();
  for (const node of [at("order"), at("more-filters"), form.sort.closest("label")]) node.hidden = listed === "files";
  if (listed === "clusters") at("order").hidden = form.sort.closest("label").hidden = true;
  const patience = fresh && setTimeout(() => mine === turn && say("Looking for them…"), 400);
  try {
    const answer = await ask(`${PATHS[listed] ?? "/clips"}?${asked}`);
    if (mine !== turn) return;
    const items = answer.clips ?? answer.clusters ?? answer.files;
    if (fresh) { grid.replaceChildren(); grid.dataset.count = 0; }
    grid.classList.toggle("rows", listed in PATHS);
    grid.append(...items.map(listed === "clusters" ? clusterRow : listed === "files" ? fileRow : clip => card(clip, clip.clip_id === extra.cluster)));
    grid.dataset.count = Number(grid.dataset.count) + items.length;
    total = answer.total;
    if (!total) grid.append(make("p", "none", {clusters: "No two clips look alike.", files: "Every file gave clips."}[listed] ?? (isNarrowed() ? "No clip is like that." : "There are no such clips.")));
    say(total ? counted(total, {clusters: "group", files: "file"}[listed] ?? "clip") + (extra.cluster ? " that look alike" : "") : "");
    at("more").hidden = Number(grid.dataset.count) >= total;
    if (listed in PATHS) at("chart").hidden = true;
    else chart(answer.bars);
  } catch (error) {
    if (mine !== turn) return;
    if (fresh) { grid.replaceChildren(); at("chart").hidden = true; }
    say(error.message, true);
    at("more").hidden = true;
  } finally {
    clearTimeout(patience);
    if (mine === turn) busy = false;
  }
}

// --- one clip

function fact(key, value) {
  const row = make("div", "fact");
  row.append(make("span", "", label(key)));
  const range = SCORES.includes(key) && facts.ranges[key];
  if (range && range[1] > range[0]) {
    const scale = make("span", "scale"), line = make("i");
    line.style.setProperty("--at", `${100 * (value - range[0]) / (range[1] - range[0])}%`);
    line.title = `from ${number(range[0])} to ${number(range[1])} in this data set`;
    scale.append(number(value), line);
    row.append(scale);
  } else row.append(make("span", "", Array.isArray(value) ? value.join("\n") : number(value) + (UNITS[key] ?? "")));
  return row;
}

function open(place) {
  opened = place;
  const clip = shown[place], stage = at("stage");
  stage.replaceChildren();
  if (clip.num_bytes === null) stage.append("too short to be a clip");
  else {
    const video = make("video");
    Object.assign(video, {src: `/video/${clip.clip_id}`, poster: `/poster/${clip.clip_id}`, controls: true, loop: true, autoplay: !still.matches, muted: true, playsInline: true});
    stage.append(video);
  }
  at("place").textContent = `${place + 1} of ${state() === "clusters" ? shown.length : total}`;
  at("before").disabled = place === 0;
  at("after").disabled = place + 1 >= shown.length;
  at("detail-name").replaceChildren(...named("span", "", clip).childNodes);
  at("detail-caption").textContent = clip.caption ?? "";
  const why = reasonOf(clip);
  at("detail-why").textContent = why ? `Dropped: ${why}` : "";
  at("alike").hidden = !(facts.copies ?? {})[clip.cluster];
  at("alike").onclick = () => { dialog.close(); form.elements.state.value = "all"; extra.cluster = clip.cluster; show(); };
  at("copy").onclick = async () => { await navigator.clipboard.writeText(clip.clip_id); at("copy").textContent = "Copied"; setTimeout(() => { at("copy").textContent = "Copy id"; }, 1200); };
  const groups = {"Scores": SCORES, "The clip": ["seconds", "size", "fps", "num_frames", "num_bytes", "camera", "cut", "damaged_frames", "crop_left", "crop_top", "crop_right", "crop_bottom"],
    "Where it comes from": ["uri", "start_s", "end_s", "first_frame"], "Captions": ["captions", "caption_source", "caption_tokens_in", "caption_tokens_out", "caption_cost"]};
  const listed = new Set([...Object.values(groups).flat(), "width", "height", "caption", "drop_reason", "split_reason"]);
  groups["How each stage ended"] = Object.keys(clip).filter(key => !listed.has(key));
  const all = {...clip, seconds: seconds(clip), size: `${clip.width}×${clip.height}`};
  for (const side of ["left", "top", "right", "bottom"]) all[`crop_${side}`] ||= null;
  at("detail-facts").replaceChildren();
  for (const [words, keys] of Object.entries(groups)) {
    const rows = keys.filter(key => all[key] !== null && all[key] !== undefined && all[key] !== "").map(key => fact(key, all[key]));
    if (rows.length) at("detail-facts").append(make("h3", "", words), ...rows);
  }
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  remember();
}

async function step(by) {
  if (opened + by >= shown.length && shown.length < total && !(state() in PATHS)) await show(false);
  if (shown[opened + by]) open(opened + by);
}

dialog.onclose = () => {
  const card = grid.querySelector(`[data-place="${opened}"]`);
  at("stage").replaceChildren();
  opened = -1;
  remember();
  card?.focus();
};
dialog.onclick = event => { if (event.target === dialog) dialog.close(); };
at("close").onclick = () => dialog.close();
at("before").onclick = () => step(-1);
at("after").onclick = () => step(1);

// --- hands on the keys

const isTyping = node => node.matches("input:not([type=radio]), select, textarea, video");

addEventListener("keydown", event => {
  if (event.metaKey || event.ctrlKey || event.altKey) return;
  if (dialog.open) {
    if (!isTyping(event.target) && event.key === "ArrowRight") step(1);
    if (!isTyping(event.target) && event.key === "ArrowLeft") step(-1);
    return;
  }
  if (event.key === "/" && !isTyping(event.target)) { event.preventDefault(); form.text.focus(); return; }
  if (event.key === "Escape" && at("more-filters").open) { at("more-filters").open = false; at("more-filters").querySelector("summary").focus(); return; }
  const moves = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: "below", ArrowUp: "above"};
  const card = event.target.closest?.(".clip");
  if (!card || !(event.key in moves)) return;
  const cards = [...grid.querySelectorAll(".clip")], place = cards.indexOf(card), box = card.getBoundingClientRect();
  let next = cards[place + moves[event.key]];
  if (typeof moves[event.key] === "string") {
    const below = event.key === "ArrowDown", rest = below ? cards.slice(place + 1) : cards.slice(0, place).reverse();
    next = rest.find(each => Math.abs(each.getBoundingClientRect().left - box.left) < 8 && (below ? each.getBoundingClientRect().top > box.top : each.getBoundingClientRect().top < box.top));
  }
  if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({block: "nearest"}); }
});

form.onsubmit = event => { event.preventDefault(); at("more-filters").open = false; show(); };
form.addEventListener("change", event => {
  if (event.target.name === "text" || event.target.name === "where") return;
  if (event.target.name === "sort") extra.low = extra.high = "";
  if (event.target.name === "state") extra.reason = extra.cluster = "";
  show();
});
let pause;
form.text.oninput = () => { clearTimeout(pause); pause = setTimeout(show, 250); };
at("order").onclick = () => { setOrder(!isDown()); show(); };
at("clear").onclick = clear;
at("more").onclick = () => show(false);
new IntersectionObserver(seen => { if (seen[0].isIntersecting && !at("more").hidden) show(false); }, {rootMargin: "600px"}).observe(at("more"));
document.addEventListener("click", event => { if (!at("more-filters").contains(event.target)) at("more-filters").open = false; });

// --- begin

try {
  facts = await ask("/overview");
  document.title = facts.name;
  at("name").textContent = facts.name;
  const hours = facts.hours >= 1 ? `${facts.hours.toFixed(1)} hours` : facts.hours * 60 >= 1 ? `${(facts.hours * 60).toFixed(1)} minutes` : `${(facts.hours * 3600).toFixed(0)} seconds`;
  at("facts").textContent = `${facts.kept} of ${facts.clips} clips kept, ${hours}, from ${facts.num_files} files`;
  const counts = {kept: facts.kept, dropped: facts.clips - facts.kept, all: facts.clips, clusters: facts.clusters, files: facts.files_without_clips};
  for (const radio of form.querySelectorAll("[name=state]")) radio.nextElementSibling.querySelector("b").textContent = counts[radio.value];
  for (const [camera, count] of Object.entries(facts.cameras)) form.camera.append(new Option(`${camera} (${count})`, camera));
  const first = ["uri", "seconds", ...SCORES.filter(each => facts.numbers.includes(each))];
  form.sort.append(...[...first, ...facts.numbers.filter(each => !first.includes(each) && !each.endsWith("_attempts"))].map(each => new Option(label(each), each)));
  recall();
  const wanted = location.hash.slice(1);
  await show();
  const place = shown.findIndex(clip => clip.clip_id === wanted);
  if (wanted && place >= 0) open(place);
} catch (error) { say(error.message, true); }
