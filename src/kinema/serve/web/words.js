// Every word of the page, in English and Chinese.

const ENGLISH = {
  skip: "Skip to the prompt",
  ask: "What do you want to see?",
  prompt: "Prompt",
  promptHint: "A red ball rolls to the right…",
  addFile: "Add file",
  pictureOrVideo: "Add a picture or a video",
  firstPicture: "The first picture of the video",
  pictureRemove: "Remove the picture",
  size: "Size",
  length: "Length",
  newLength: "New length",
  seed: "Seed",
  seedAny: "any",
  takes: "Takes",
  model: "Model",
  advanced: "Advanced",
  negative: "Leave out",
  negativeHint: "what the video should not show",
  steps: "Steps",
  guidance: "Guidance",
  solver: "Solver",
  modelDefault: "the model’s",
  make: "Make video",
  makeMany: (n) => `Make ${n} videos`,
  remix: "Remix",
  remixOf: "Remix of",
  extend: "Extend",
  extensionOf: "Extension of",
  loop: "Loop",
  loopOf: "Loop of",
  wayBack: "Way back",
  edited: "Edited",
  storyboard: "Storyboard",
  storyTotal: (n) => `${n} s in all`,
  sceneFirst: "The prompt above",
  sceneHint: "what happens then…",
  sceneTime: (from, to) => `${from}–${to} s`,
  scenePrompt: (n) => `Scene ${n}: prompt`,
  sceneLength: (n) => `Scene ${n}: length`,
  sceneUp: (n) => `Move scene ${n} earlier`,
  sceneDown: (n) => `Move scene ${n} later`,
  sceneRemove: (n) => `Remove scene ${n}`,
  sceneAdd: "Add a scene",
  leave: "Leave, and start a new video",
  reuse: "Reuse settings",
  compare: "Compare",
  compareTitle: "A and B, side by side",
  wipe: "How much of A is shown",
  setting: "Setting",
  pick: "Choose the video to compare with.",
  download: "Download",
  verify: "Verify",
  copyAs: "Copy as",
  cli: "command",
  copied: "Copied.",
  link: "link",
  share: "open link",
  shared: "Copied: a link to the file that needs no key, for seven days.",
  delete: "Delete",
  deleteSure: "Delete this video for good?",
  deleted: "Deleted.",
  dismiss: "Dismiss",
  cancel: "Cancel",
  retry: "Retry",
  close: "Close",
  works: "In the works",
  gallery: "Your videos",
  search: "Search prompts",
  favourites: "Favourites",
  favourite: "Favourite",
  lineage: "Lineage",
  made: "Made from this",
  from: "Made from",
  empty: "Nothing here yet. What you make appears here and stays: you can close this tab, the server goes on.",
  noneFound: (text) => `No prompt holds “${text}”.`,
  noFavourites: "No favourites yet. Press the star on a video.",
  drop: "Drop a picture to start from, or a video to remix, extend or loop",
  queuedNext: "Next in line",
  queuedAt: (n) => `${n} ahead in line`,
  cancelling: "Stopping…",
  stage: { text: "Reading the prompt", image: "Reading the picture", denoise: "Imagining", decode: "Developing" },
  starting: "Starting",
  left: (time) => `about ${time} left`,
  failed: "Did not work",
  cancelled: "Cancelled",
  attempt: (n) => `attempt ${n}`,
  ready: (models) => `Ready · ${models}`,
  noWorker: "No worker yet",
  noWorkerHelp: "Videos wait until a worker has loaded the model. If none comes, start one: kinema worker",
  away: "No connection",
  awayHelp: "The server does not answer; trying again. Your queue is safe on its disk.",
  loading: "Connecting…",
  done: (prompt) => `Ready: ${prompt}`,
  openVideo: (prompt) => `Open: ${prompt}`,
  keyTitle: "This server wants a key",
  keyWhy: "Whoever runs it can make one: kinema serve --make-key NAME. It stays in this browser.",
  keyLabel: "API key",
  keyGo: "Enter",
  keyWrong: "The server does not know this key.",
  keys: "Keyboard",
  keyList: [
    ["⏎", "Make the video"],
    ["⇧ ⏎", "A new line"],
    ["N", "Go to the prompt"],
    ["/", "Search"],
    ["← →", "The video before, the next"],
    ["Space", "Play, pause"],
    ["F", "Favourite"],
    ["R  E  L  U", "Remix, extend, loop, reuse settings"],
    ["C", "Compare"],
    ["Esc", "Close"],
  ],
  theme: { auto: "Colours: as the system", light: "Colours: light", dark: "Colours: dark" },
  reloaded: "Settings reloaded from the file.",
  reusedWithoutPicture: "Settings are back; add the first picture again, it is not kept here.",
  reload: "Reload its settings",
  clipTitle: "What to do with this video",
  clipNote: "It stays in this browser until you ask for something. The model gets its picture, without sound, at its own rate and size.",
  clipUnplayed: "This browser cannot play it; the server may still read it.",
  notMedia: (name) => `${name} is neither a picture nor an mp4 or webm.`,
  noPicture: (model) => `${model} makes videos from text only; choose another model to start from a picture.`,
  custom: "Other…",
  customAsk: "Width x height in pixels, such as 96x64",
  seconds: (n) => `${n} s`,
  facts: { size: "Size", seconds: "Length", seed: "Seed", model: "Model", steps: "Steps", guidance: "Guidance", solver: "Solver", negative: "Left out", fps: "Rate", took: "Took", resumed: "Resumed", created: "Made", prompt: "Prompt" },
  rate: (n) => `${n} frames/s`,
  resumedAt: (n) => `at step ${n}, after its worker went`,
  asModel: (name, real) => `${name} (${real})`,
  proof: { detected: "Mark found", not_detected: "No mark", c2pa: "Signed manifest (C2PA)", kinema_watermark: "Invisible watermark", aigc: "AIGC label", kinema_record: "The request, in the file", trusted: "trusted", valid: "valid", invalid: "changed since it was signed", not_present: "not there" },
  proofBadge: "Marked as AI-made",
  proofBusy: "Checking…",
  ideas: [
    "a red ball rolls to the right",
    "two blue boxes fall onto the grass",
    "a green cone slides to the left",
    "a yellow capsule tumbles over the sand",
  ],
  lots: "and more",
};

const CHINESE = {
  skip: "跳到提示词",
  ask: "你想看到什么？",
  prompt: "提示词",
  promptHint: "a red ball rolls to the right…",
  addFile: "添加文件",
  pictureOrVideo: "添加图片或视频",
  firstPicture: "视频的第一帧图片",
  pictureRemove: "移除图片",
  size: "尺寸",
  length: "时长",
  newLength: "总时长",
  seed: "种子",
  seedAny: "随机",
  takes: "数量",
  model: "模型",
  advanced: "高级",
  negative: "排除",
  negativeHint: "视频中不应出现的内容",
  steps: "步数",
  guidance: "引导强度",
  solver: "求解器",
  modelDefault: "模型默认",
  make: "生成视频",
  makeMany: (n) => `生成 ${n} 个视频`,
  remix: "改编",
  remixOf: "改编自",
  extend: "延长",
  extensionOf: "延长自",
  loop: "循环",
  loopOf: "循环自",
  wayBack: "返回时长",
  edited: "编辑",
  storyboard: "分镜",
  storyTotal: (n) => `共 ${n} 秒`,
  sceneFirst: "上方的提示词",
  sceneHint: "接下来发生什么…",
  sceneTime: (from, to) => `${from}–${to} 秒`,
  scenePrompt: (n) => `场景 ${n}：提示词`,
  sceneLength: (n) => `场景 ${n}：时长`,
  sceneUp: (n) => `将场景 ${n} 提前`,
  sceneDown: (n) => `将场景 ${n} 延后`,
  sceneRemove: (n) => `移除场景 ${n}`,
  sceneAdd: "添加场景",
  leave: "退出，开始新视频",
  reuse: "复用设置",
  compare: "对比",
  compareTitle: "A 与 B 对比",
  wipe: "A 的显示比例",
  setting: "设置",
  pick: "选择要对比的视频。",
  download: "下载",
  verify: "验证",
  copyAs: "复制为",
  cli: "命令",
  copied: "已复制。",
  link: "链接",
  share: "公开链接",
  shared: "已复制：无需密钥的文件链接，七天内有效。",
  delete: "删除",
  deleteSure: "永久删除这个视频？",
  deleted: "已删除。",
  dismiss: "移除",
  cancel: "取消",
  retry: "重试",
  close: "关闭",
  works: "进行中",
  gallery: "我的视频",
  search: "搜索提示词",
  favourites: "收藏",
  favourite: "收藏",
  lineage: "谱系",
  made: "由此生成",
  from: "来源",
  empty: "这里还没有视频。生成的视频会保存在这里：关闭页面也没关系，服务器会继续工作。",
  noneFound: (text) => `没有包含“${text}”的提示词。`,
  noFavourites: "还没有收藏。点击视频上的星标即可收藏。",
  drop: "拖入图片作为第一帧，或拖入视频以改编、延长或循环",
  queuedNext: "即将开始",
  queuedAt: (n) => `前面还有 ${n} 个`,
  cancelling: "正在停止…",
  stage: { text: "理解提示词", image: "读取图片", denoise: "构思画面", decode: "显影" },
  starting: "正在启动",
  left: (time) => `约剩 ${time}`,
  failed: "未成功",
  cancelled: "已取消",
  attempt: (n) => `第 ${n} 次尝试`,
  ready: (models) => `就绪 · ${models}`,
  noWorker: "等待工作进程",
  noWorkerHelp: "视频会等待工作进程加载模型。如果一直没有，请启动一个：kinema worker",
  away: "连接中断",
  awayHelp: "服务器没有响应，正在重试。队列安全地保存在磁盘上。",
  loading: "正在连接…",
  done: (prompt) => `已完成：${prompt}`,
  openVideo: (prompt) => `打开：${prompt}`,
  keyTitle: "此服务器需要密钥",
  keyWhy: "服务器管理员可以创建密钥：kinema serve --make-key NAME。密钥只保存在此浏览器中。",
  keyLabel: "API 密钥",
  keyGo: "进入",
  keyWrong: "服务器不认识这个密钥。",
  keys: "键盘快捷键",
  keyList: [
    ["⏎", "生成视频"],
    ["⇧ ⏎", "换行"],
    ["N", "跳到提示词"],
    ["/", "搜索"],
    ["← →", "上一个、下一个视频"],
    ["空格", "播放、暂停"],
    ["F", "收藏"],
    ["R  E  L  U", "改编、延长、循环、复用设置"],
    ["C", "对比"],
    ["Esc", "关闭"],
  ],
  theme: { auto: "配色：跟随系统", light: "配色：浅色", dark: "配色：深色" },
  reloaded: "已从文件恢复设置。",
  reusedWithoutPicture: "设置已恢复；第一帧图片未保存，请重新添加。",
  reload: "恢复它的设置",
  clipTitle: "如何使用这个视频",
  clipNote: "在你提交之前，视频只留在此浏览器中。模型使用其画面（无声音），并转为模型自己的帧率和尺寸。",
  clipUnplayed: "此浏览器无法播放；服务器或许仍能读取。",
  notMedia: (name) => `${name} 既不是图片，也不是 mp4 或 webm。`,
  noPicture: (model) => `${model} 只能从文字生成视频；要从图片开始，请选择其他模型。`,
  custom: "其他…",
  customAsk: "宽x高（像素），例如 96x64",
  seconds: (n) => `${n} 秒`,
  facts: { size: "尺寸", seconds: "时长", seed: "种子", model: "模型", steps: "步数", guidance: "引导强度", solver: "求解器", negative: "排除", fps: "帧率", took: "耗时", resumed: "续作", created: "生成于", prompt: "提示词" },
  rate: (n) => `${n} 帧/秒`,
  resumedAt: (n) => `从第 ${n} 步继续（原工作进程已中断）`,
  asModel: (name, real) => `${name}（${real}）`,
  proof: { detected: "发现标记", not_detected: "未发现标记", c2pa: "签名清单（C2PA）", kinema_watermark: "隐形水印", aigc: "AIGC 标识", kinema_record: "文件内的请求记录", trusted: "可信", valid: "有效", invalid: "签名后被修改", not_present: "不存在" },
  proofBadge: "已标记为 AI 生成",
  proofBusy: "检查中…",
  ideas: ENGLISH.ideas,
  lots: "等",
};

export const LANGUAGES = { en: ENGLISH, zh: CHINESE };

function chosen() {
  const kept = localStorage.getItem("kinema.language");
  if (kept in LANGUAGES) return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

let language = chosen();

export const currentLanguage = () => language;

export function setLanguage(name) {
  language = name;
  localStorage.setItem("kinema.language", name);
}

// One text by its name; names of groups have a dot: t("stage.denoise").
export function t(name, ...values) {
  const found = name.split(".").reduce((here, part) => here?.[part], LANGUAGES[language]);
  return typeof found === "function" ? found(...values) : found ?? name;
}

// Fills in every text that the markup names.
export function translate(root = document) {
  if (root === document) {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    for (const template of document.querySelectorAll("template")) translate(template.content);
  }
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", t(node.dataset.label));
    node.title = t(node.dataset.label);
  }
  for (const node of root.querySelectorAll("[data-hint]")) node.placeholder = t(node.dataset.hint);
  for (const node of root.querySelectorAll("[data-alt]")) node.alt = t(node.dataset.alt);
}

export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 90) return t("seconds", whole);
  const minutes = Math.round(whole / 60);
  const zh = language === "zh";
  if (minutes < 90) return zh ? `${minutes} 分钟` : `${minutes} min`;
  return zh ? `${Math.round(minutes / 60)} 小时` : `${Math.round(minutes / 60)} h`;
}

export function ago(unixSeconds) {
  const past = unixSeconds - Date.now() / 1000;
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (-past >= size) return format.format(Math.round(past / size), unit);
  }
  return format.format(0, "second");
}
