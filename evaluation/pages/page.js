// What every page needs: elements, packed data, and two languages.
const $ = (query, within = document) => within.querySelector(query);

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const el = (name, properties, ...children) => fill(document.createElement(name), properties, children);
const draw = (name, properties, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), properties, children);

async function unpack(id) {
  const text = atob($(`#${id}`).textContent.replace(/\s/g, ""));
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

// A page from a disk may be refused its storage.
const kept = {
  get(name) { try { return localStorage.getItem(name); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(name, value); } catch { /* then it is forgotten */ } },
};

let language = kept.get("hotline.language") || (navigator.language.startsWith("zh") ? "zh" : "en");
const say = (english, chinese) => (language === "zh" ? chinese : english);

function languageButton(render) {
  const turn = () => {
    language = language === "zh" ? "en" : "zh";
    kept.set("hotline.language", language);
    render();
  };
  return el("button", { id: "language", onclick: turn, lang: say("zh-CN", "en") }, say("中文", "English"));
}

const showLanguage = () => { document.documentElement.lang = say("en", "zh-CN"); };

// A clip that is on the page, if it is: WAV when it is short, else FLAC.
function clipPlayer(name, properties) {
  const clip = document.getElementById(`clip-${name}`);
  if (!clip) return null;
  const kind = clip.textContent.startsWith("UklG") ? "wav" : "flac";
  return el("audio", { controls: true, src: `data:audio/${kind};base64,${clip.textContent}`, ...properties });
}

// Summaries are English, with the Chinese name of the task in brackets at the end.
function taskSummary(data) {
  const [, chinese] = /[（(]([^()（）]*)[)）]\.?\s*$/.exec(data.summary) || [];
  return say(data.summary, chinese || data.summary);
}
