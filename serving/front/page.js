// What is served, how busy it is, and a box per task to try it. Everything comes from the routes that clients use.
import { change, say, speak } from "./words.js";
import { record } from "./recorder.js";

const REFRESH_MS = 2000;
const $ = (id) => document.getElementById(id);

function make(kind, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(kind), attributes);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function spoken(kind, name, attributes = {}) {
  const made = make(kind, { ...attributes, textContent: say(name) });
  made.dataset.words = name;
  return made;
}

// A summary says the task in English and ends with its Chinese name in brackets.
function named(task) {
  const [, english, chinese] = task.summary.split("\n")[0].match(/^(.*?)\s*\(([^()]*)\)\.?$/) ?? [null, task.summary, task.name];
  return document.documentElement.lang === "zh" ? [chinese, task.name] : [task.name, english];
}

const get = async (path) => (await fetch(path)).json();
const milliseconds = (seconds) => (seconds === null ? "–" : `${(1000 * seconds).toFixed(0)} ms`);

async function refresh() {
  try {
    const [{ tasks }, { tasks: load }, ready] = await Promise.all([get("v1/tasks"), get("v1/load"), get("readyz")]);
    $("versions").replaceChildren(...tasks.map((task) => line(task, load[task.name])));
    state(ready.ready ? "ready" : "unready", ready.ready ? "good" : "warn");
    $("trouble").textContent = ready.trouble ?? "";
    $("trouble").hidden = !ready.trouble;
    await boxes(tasks);
  } catch {
    state("silent", "bad");
  }
}

function state(word, kind) {
  $("ready").className = `state ${kind}`;
  if ($("ready").textContent !== say(word)) $("ready").textContent = say(word);
}

function line(task, load) {
  const numbers = load ? [load.ongoing, load.answered, load.failed, milliseconds(load.median_seconds)] : ["", "", "", ""];
  const by = task.provenance;
  const [title, note] = named(task);
  const name = make("td", {}, make("strong", { textContent: title }), make("div", { className: "quiet", textContent: note }));
  const version = by
    ? make("td", {}, `${by.model}@${by.version}`, make("div", {}, make("code", { className: "quiet", title: by.digest, textContent: by.digest.slice(0, 12) })))
    : make("td", { className: "warn" }, say("unserved"), make("div", { className: "quiet", textContent: say(task.why_not ?? "") }));
  const verdict = make("td", {});
  if (by) {
    verdict.append(
      make("span", { className: by.outcome === "passed" ? "good" : "warn", textContent: `${say(by.outcome)} · ${say(by.profile)}` }),
      make("div", {}, make("code", { className: "quiet", title: by.verdict, textContent: by.verdict.slice(0, 12) })),
    );
  }
  return make("tr", {}, name, version, verdict, ...numbers.map((number) => make("td", { className: "number", textContent: number })));
}

// The schema of a route's body with its references followed one level down.
function fields(openapi, path) {
  const content = openapi.paths[path].post.requestBody.content;
  const [kind, { schema, examples }] = Object.entries(content)[0];
  const found = schema.$ref ? openapi.components.schemas[schema.$ref.split("/").pop()] : schema;
  return { form: kind.startsWith("multipart"), schema: found, example: examples ? Object.values(examples)[0].value : {} };
}

function control(name, schema, example) {
  const id = `field-${Math.random().toString(36).slice(2)}`;
  const long = schema.type === "string" && !schema.enum;
  const shown = example === undefined ? "" : typeof example === "string" ? example : JSON.stringify(example);
  const input = schema.enum
    ? make("select", { id }, ...schema.enum.map((value) => make("option", { textContent: value })))
    : make(long ? "textarea" : "input", { id, value: shown });
  if (!long && !schema.enum) input.type = schema.type === "number" || schema.type === "integer" ? "number" : "text";
  const label = make("label", { htmlFor: id, textContent: name });
  if (schema.description) label.append(make("span", { className: "quiet", textContent: ` · ${schema.description}` }));
  const value = () => (long || schema.enum ? input.value : input.value === "" ? undefined : JSON.parse(input.value));
  return { name, parts: [label, input], value };
}

function recording() {
  const id = `file-${Math.random().toString(36).slice(2)}`;
  const file = make("input", { id, type: "file", accept: "audio/*,video/mp4" });
  const button = spoken("button", "record", { type: "button" });
  const note = make("span", { className: "quiet" });
  const player = make("audio", { controls: true, hidden: true });
  let stop = null, kept = null;
  const keep = (chosen) => {
    kept = chosen;
    player.src = URL.createObjectURL(chosen);
    player.hidden = false;
  };
  file.onchange = () => file.files[0] && keep(file.files[0]);
  button.onclick = async () => {
    try {
      if (stop) {
        const made = await stop();
        stop = null;
        keep(made.file);
        note.textContent = `${say("recorded")} ${made.seconds.toFixed(1)} s`;
      } else {
        stop = await record();
        note.textContent = "";
      }
    } catch {
      note.textContent = say("no_microphone");
    }
    button.dataset.words = stop ? "stop" : "record";
    button.textContent = say(button.dataset.words);
    button.classList.toggle("recording", Boolean(stop));
  };
  const label = spoken("label", "file", { htmlFor: id });
  return { parts: [label, file, make("div", { className: "row" }, button, note), player], value: () => kept };
}

function box(task, openapi) {
  const { form, schema, example } = fields(openapi, task.path);
  const spokenHere = form ? recording() : null;
  const required = schema.required ?? [];
  const names = Object.keys(schema.properties).filter((name) => !(form && name === "file"));
  const controls = names.map((name) => control(name, schema.properties[name], example[name]));
  const answer = make("div", {});
  answer.setAttribute("aria-live", "polite");
  const send = spoken("button", "send", { className: "main", type: "submit" });
  const asked = make("form", {}, ...(spokenHere?.parts ?? []), ...controls.flatMap((each) => each.parts),
    make("div", { className: "row" }, send, spoken("span", "hint", { className: "quiet" })), answer);
  asked.onkeydown = (event) => event.key === "Enter" && event.ctrlKey && asked.requestSubmit();
  asked.onsubmit = async (event) => {
    event.preventDefault();
    if (spokenHere && !spokenHere.value()) return answer.replaceChildren(spoken("p", "choose", { className: "problem" }));
    send.disabled = true;
    answer.replaceChildren(spoken("p", "sending", { className: "quiet" }));
    answer.replaceChildren(await reply(task, request(controls, required, spokenHere)));
    send.disabled = false;
  };
  const [title, note] = named(task);
  const summary = make("summary", {}, title, make("span", { className: "quiet", textContent: note }));
  return make("details", { className: "card", id: `try-${task.name}` }, summary, asked);
}

let boxed = "";
async function boxes(tasks) {
  const served = tasks.filter((task) => task.served);
  const names = [document.documentElement.lang, ...served.map((task) => task.name)].join(" ");
  if (names === boxed) return;
  boxed = names;
  const openapi = await get("openapi.json");
  const made = served.map((task) => box(task, openapi));
  if (made.length) made[0].open = true;
  $("tasks").replaceChildren(...made);
}

function request(controls, required, spokenHere) {
  const given = controls.map((each) => [each.name, each.value()]).filter(([name, value]) => value !== undefined && (value !== "" || required.includes(name)));
  if (!spokenHere) return { body: JSON.stringify(Object.fromEntries(given)), headers: { "Content-Type": "application/json" } };
  const body = new FormData();
  body.append("file", spokenHere.value());
  for (const [name, value] of given) body.append(name, value);
  return { body };
}

async function reply(task, told) {
  try {
    const response = await fetch(task.path.slice(1), { method: "POST", ...told });
    const said = await response.json();
    return response.ok ? shown(said) : refused(said.error);
  } catch (error) {
    return make("p", { className: "problem", textContent: `${say("silent")}: ${error.message}` });
  }
}

function shown(said) {
  const [[, main]] = Object.entries(said.answer);
  const best = [[said.answer, said.confidence], ...said.alternatives.map((other) => [other.answer, other.confidence])];
  const bars = make("div", { className: "bars" });
  for (const [answer, share] of said.alternatives.length ? best : best.slice(0, 1)) {
    const name = said.alternatives.length ? String(Object.values(answer)[0]) : say("confidence");
    const bar = make("span", {}, make("i", {}));
    bar.firstChild.style.width = `${100 * share}%`;
    bars.append(make("span", { textContent: name }), bar, make("span", { className: "number", textContent: `${(100 * share).toFixed(1)} %` }));
  }
  const by = said.provenance;
  return make("div", { className: "answer" },
    make("p", { textContent: typeof main === "string" ? main || "∅" : JSON.stringify(main) }), bars,
    make("p", { className: "quiet" }, `${say("by")} ${by.model}@${by.version} · ${say("request")} `, make("code", { textContent: said.id })),
    make("details", {}, make("summary", { textContent: say("whole") }), make("pre", { textContent: JSON.stringify(said, null, 1) })));
}

function refused(error) {
  const words = [error.message, error.where, error.found, error.expected, error.next].filter(Boolean).join(" · ");
  const places = error.details.map((each) => make("p", { className: "quiet", textContent: `${each.where}: ${each.expected}` }));
  return make("div", { className: "answer" }, make("p", { className: "problem", textContent: words }), ...places);
}

async function start() {
  speak();
  const button = $("language");
  button.textContent = say("language");
  button.onclick = () => {
    change();
    button.textContent = say("language");
    refresh();
  };
  await refresh();
  setInterval(() => document.hidden || refresh(), REFRESH_MS);
}

start();
