// A request in the words of curl, Python, or the command line.

const quoted = (text) => `'${String(text).replaceAll("'", `'\\''`)}'`;

// What a finished or running video was asked with, every value that decides its frames.
export function requestOf(video) {
  const asked = { prompt: video.prompt, model: video.model };
  if (video.kind === "extend") return { ...asked, seconds: video.seconds, seed: video.seed, video: video.parent_id };
  if (video.size) asked.size = video.size;
  if (video.seconds) asked.seconds = video.seconds;
  if (video.seed != null) asked.seed = video.seed;
  if (video.negative_prompt) asked.negative_prompt = video.negative_prompt;
  if (video.steps != null) asked.num_inference_steps = video.steps;
  if (video.guidance != null) asked.guidance_scale = video.guidance;
  if (video.storyboard) asked.storyboard = video.storyboard;
  return asked;
}

export function asCurl({ video, ...asked }, hasKey) {
  const path = asked.edit ? "/v1/videos/edits" : video ? "/v1/videos/extensions" : "/v1/videos";
  const body = video ? { ...asked, video: { id: video } } : asked;
  const key = hasKey ? ` \\\n  -H "Authorization: Bearer $OPENAI_API_KEY"` : "";
  return `curl ${location.origin}${path}${key} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(body))}`;
}

const python = (value) => JSON.stringify(value);

export function asPython({ video, ...asked }, hasKey) {
  const own = ["prompt", "model", "size", "seconds"];
  const parts = own.filter((name) => asked[name] != null).map((name) => `    ${name}=${python(String(asked[name]))},`);
  const more = Object.fromEntries(Object.entries(asked).filter(([name]) => !own.includes(name)));
  if (video) more.video = { id: video };
  if (Object.keys(more).length) parts.push(`    extra_body=${python(more)},`);
  const base = `${location.origin}/v1`;
  const client = hasKey ? `openai.OpenAI(base_url="${base}")` : `openai.OpenAI(base_url="${base}", api_key="none")`;
  const call = video
    ? `video = client.videos.${asked.edit ? "edit" : "extend"}(\n    video=openai.omit,\n${parts.filter((part) => !part.startsWith("    model=")).join("\n")}\n)\nvideo = client.videos.poll(video.id)`
    : `video = client.videos.create_and_poll(\n${parts.join("\n")}\n)`;
  return `import openai\n\nclient = ${client}\n${call}\nclient.videos.download_content(video.id).write_to_file("video.mp4")\n`;
}

const FLAGS = { size: "size", seconds: "seconds", seed: "seed", negative_prompt: "negative", num_inference_steps: "steps", guidance_scale: "guidance", solver: "solver" };

export function asCommand(asked, servedModel) {
  const flags = Object.entries(FLAGS)
    .filter(([name]) => asked[name] != null && asked[name] !== "")
    .map(([name, flag]) => `--${flag} ${/^[\w.x-]+$/.test(asked[name]) ? asked[name] : quoted(asked[name])}`);
  const cards = (asked.storyboard ?? []).map((card) => `--card ${card.second} ${quoted(card.prompt)}`);
  const verb = cards.length ? ["kinema edit", "--prompt"] : ["kinema generate"];
  return [...verb, quoted(asked.prompt), `--model ${quoted(servedModel)}`, ...cards, ...flags].join(" ");
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
