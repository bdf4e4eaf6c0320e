// A request in the words of curl, Python, or the command line.

const quoted = (text) => `'${String(text).replaceAll("'", `'\\''`)}'`;
const filled = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null && value !== ""));

// What a video was asked with: every value that decides its frames, with `video` and `edit` where it is an edit of another one, with
// `remix` where it is the same as another one in other words. Null where that takes files that are not here any more.
export function requestOf(video) {
  const asked = filled({
    prompt: video.prompt,
    model: video.model,
    size: video.size,
    seconds: video.seconds,
    seed: video.seed,
    fps: video.fps,
    negative_prompt: video.negative_prompt,
    num_inference_steps: video.steps,
    guidance_scale: video.guidance,
    guidance_scale_2: video.guidance_low,
    solver: video.solver,
    flow_shift: video.shift,
    step_cache: video.step_cache,
  });
  if (video.kind === "remix") return { ...asked, storyboard: video.storyboard, remix: video.parent_id, isWhole: !video.has_uploads && !video.edit_settings };
  if (video.edit_settings) return video.has_uploads ? null : { ...asked, video: video.parent_id, edit: video.edit_settings };
  if (video.has_uploads) return { ...asked, remix: video.id, isWhole: false }; // its pictures go along
  return filled({ ...asked, storyboard: video.storyboard });
}

// The videos that a request needs to be there.
export function sourcesOf({ remix, video, edit }) {
  const cuts = (edit?.cuts ?? []).map((cut) => cut.video.id);
  return [...new Set([remix, video, edit?.other?.id, ...cuts].filter(Boolean))];
}

// The same video made from nothing, where that takes no more than the request says.
export function withoutSource({ remix: _, ...asked }) {
  return asked.isWhole ? filled({ ...asked, isWhole: null }) : null;
}

export const hasCommand = (asked) => asked.isWhole !== false;

// Which route takes a request, the method of OpenAI's client that calls it, and its fields.
function callOf({ remix, video, edit, isWhole: _, ...asked }) {
  const { prompt, model, seed, seconds } = asked;
  if (remix) return { path: `/v1/videos/${remix}/remix`, call: "remix", first: JSON.stringify(remix), body: filled({ prompt, seed }) };
  if (!video) return { path: "/v1/videos", call: "create_and_poll", body: filled(asked) };
  const own = filled({ prompt, model, seed, video: { id: video } });
  if (edit.kind !== "extend") return { path: "/v1/videos/edits", call: "edit", first: "video=openai.omit", body: { ...own, edit } };
  const more = { seconds, ...(edit.direction === "backward" ? { direction: "backward" } : {}) };
  return { path: "/v1/videos/extensions", call: "extend", first: "video=openai.omit", body: { ...own, ...more } };
}

const curlKey = (hasKey) => (hasKey ? ` -H "Authorization: Bearer $OPENAI_API_KEY"` : "");

export function asCurl(asked, hasKey) {
  const { path, body } = callOf(asked);
  return `curl ${location.origin}${path}${curlKey(hasKey)} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(body))}`;
}

const ARGUMENTS = { create_and_poll: ["prompt", "model", "size", "seconds"], extend: ["prompt", "seconds"], edit: ["prompt"], remix: ["prompt"] };

export function asPython(asked, hasKey) {
  const { call, first, body } = callOf(asked);
  const own = ARGUMENTS[call];
  const more = Object.fromEntries(Object.entries(body).filter(([name]) => !own.includes(name)));
  const lines = own.filter((name) => body[name] != null).map((name) => `${name}=${JSON.stringify(String(body[name]))}`);
  if (first) lines.unshift(first);
  if (Object.keys(more).length) lines.push(`extra_body=${JSON.stringify(more)}`);
  const client = `openai.OpenAI(base_url="${location.origin}/v1"${hasKey ? "" : `, api_key="none"`})`;
  const poll = call === "create_and_poll" ? "" : "video = client.videos.poll(video.id)\n";
  const made = `video = client.videos.${call}(\n${lines.map((line) => `    ${line},\n`).join("")})\n${poll}`;
  return `import openai\n\nclient = ${client}\n${made}client.videos.download_content(video.id).write_to_file("video.mp4")\n`;
}

const FLAGS = {
  size: "size",
  seconds: "seconds",
  fps: "fps",
  seed: "seed",
  negative_prompt: "negative",
  num_inference_steps: "steps",
  guidance_scale: "guidance",
  guidance_scale_2: "guidance-low",
  solver: "solver",
  flow_shift: "shift",
  step_cache: "step-cache",
};

// What begins with a dash would be taken for a flag of its own.
const flag = (name, text) => `--${name}${String(text).startsWith("-") ? "=" : " "}${/^[\w.x-]+$/.test(text) ? text : quoted(text)}`;

const flagsOf = (asked, without = []) =>
  Object.entries(FLAGS)
    .filter(([name]) => asked[name] != null && asked[name] !== "" && !without.includes(name))
    .map(([name, own]) => flag(own, asked[name]));

// The command line works on files, so what an edit starts from is fetched first.
export function asCommand(asked, servedModel, hasKey) {
  const model = `--model ${quoted(servedModel)}`;
  if (asked.video) {
    const fetches = sourcesOf(asked).map((id) => `curl -fsS${curlKey(hasKey)} -o ${id}.mp4 ${location.origin}/v1/videos/${id}/content`);
    const edit = asked.edit.kind === "join" ? joinFlags(asked.edit.cuts) : [`${asked.video}.mp4`, flag("prompt", asked.prompt), model, ...editFlags(asked.edit), ...flagsOf(asked, ["seconds", "fps"])];
    return [...fetches, ["kinema edit", ...edit].join(" ")].join(" && \\\n");
  }
  const cards = (asked.storyboard ?? []).map((card) => `--card ${card.second} ${quoted(card.prompt)}`);
  const own = [model, ...cards, ...flagsOf(asked)];
  if (cards.length) return ["kinema edit", flag("prompt", asked.prompt), ...own].join(" ");
  return (asked.prompt.startsWith("-") ? ["kinema generate", ...own, "--", quoted(asked.prompt)] : ["kinema generate", quoted(asked.prompt), ...own]).join(" ");
}

const span = ({ start, end }) => `${start ?? ""}-${end ?? ""}`;

function joinFlags(cuts) {
  const parts = cuts.map((cut) => (cut.start ?? cut.end) == null ? `${cut.video.id}.mp4` : `${cut.video.id}.mp4:${span(cut)}`);
  return [parts[0], ...parts.slice(1).map((part) => `--join ${part}`)];
}

function editFlags({ kind, seconds, direction, strength, start, end, box, other }) {
  const own = {
    extend: () => [`--extend${direction === "backward" ? "-back" : ""} ${seconds}`],
    loop: () => [`--loop ${seconds}`],
    remix: () => ["--remix"],
    vary: () => ["--vary"],
    replace: () => [...((start ?? end) == null ? [] : [`--replace ${span({ start, end })}`]), ...(box ? [`--box ${box.join(",")}`] : [])],
    blend: () => [`--blend ${other.id}.mp4`, `--over ${seconds}`],
  }[kind]();
  return strength == null ? own : [...own, `--strength ${strength}`];
}

export async function toClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // plain http gives no clipboard
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
