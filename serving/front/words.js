// Everything the page says, in both languages.
const WORDS = {
  title: ["热线服务", "Hotline endpoints"],
  subtitle: ["每个回答都注明由哪个版本给出、凭什么证据上线。", "Every answer names the version that gave it and the evidence that it stands on."],
  skip: ["跳到试用", "Skip to the try-it boxes"],
  api: ["接口文档", "OpenAPI page"],
  language: ["English", "中文"],
  served: ["正在提供的服务", "What is served"],
  task: ["任务", "Task"],
  version: ["版本", "Version"],
  verdict: ["评审结论", "Verdict"],
  now: ["处理中", "In progress"],
  answered: ["已回答", "Answered"],
  failed: ["未成功", "Failed"],
  seconds: ["中位耗时", "Median time"],
  load_note: ["负载每 2 秒更新，统计自本入口进程启动以来的请求；耗时为最近 200 次。", "Load is refreshed every 2 seconds: requests since this ingress started; times of the last 200."],
  try: ["试一试", "Try it"],
  ready: ["就绪", "ready"],
  unready: ["未全部就绪", "not wholly ready"],
  silent: ["连接不上", "not reachable"],
  unserved: ["未提供", "not served"],
  file: ["录音文件（wav、flac、mp3、ogg …）", "Recording (wav, flac, mp3, ogg …)"],
  record: ["用麦克风录音", "Record with the microphone"],
  stop: ["停止录音", "Stop recording"],
  recorded: ["已录音", "recorded"],
  no_microphone: ["浏览器未允许使用麦克风（需要 https 或 localhost）", "the browser gives no microphone (https or localhost is needed)"],
  send: ["发送", "Send"],
  sending: ["处理中…", "working …"],
  hint: ["Ctrl + Enter 发送", "Ctrl + Enter sends"],
  confidence: ["置信度", "confidence"],
  by: ["由", "answered by"],
  request: ["请求编号", "request"],
  whole: ["完整回答 (JSON)", "The whole answer (JSON)"],
  choose: ["请先选择或录制一段录音", "choose or record a recording first"],
  passed: ["通过", "passed"],
  "insufficient evidence": ["证据不足", "insufficient evidence"],
  demo: ["演示", "demo"],
  production: ["生产", "production"],
  "no champion in the ledger": ["账本中尚无获准上线的版本", "no champion in the ledger"],
  "the endpoints are still starting": ["服务正在启动", "the endpoints are still starting"],
};
const KEPT = "hotline-language";
let chosen = localStorage.getItem(KEPT) ?? (navigator.language.startsWith("zh") ? "zh" : "en");

export const say = (name) => (WORDS[name] ?? [name, name])[chosen === "zh" ? 0 : 1];

export function speak() {
  document.documentElement.lang = chosen;
  for (const place of document.querySelectorAll("[data-words]")) place.textContent = say(place.dataset.words);
}

export function change() {
  chosen = chosen === "zh" ? "en" : "zh";
  localStorage.setItem(KEPT, chosen);
  speak();
}
