// Row by row: worst regression first, filtered, searched, in pages, with sound where it is on the page.
const SIZE = 25;
const view = { system: 1, kind: "all", order: "worst", text: "", columns: {}, confusion: null, page: 0, written: false };

const lost = (data, row) => data.rows.errors[view.system][row] - data.rows.errors[0][row];
const value = (data, name, row) => data.rows.columns[name].values[data.rows.columns[name].codes[row]];
const characters = (data, row) => [...data.rows.texts[row][2]].filter((one) => one !== " ").length;
const hasClip = (row) => document.getElementById(`clip-${row}`) !== null;

function searched(data, row) {
  data.words ??= [];
  data.words[row] ??= [data.rows.ids[row], ...data.rows.texts[row].flat(Infinity)].filter((part) => part !== null).join("\n").toLowerCase();
  return data.words[row].includes(view.text);
}

const KINDS = {
  all: () => true,
  worse: (data, row) => lost(data, row) > 0,
  better: (data, row) => lost(data, row) < 0,
  changed: (data, row) => data.rows.texts[row][3][0][0] !== data.rows.texts[row][3][view.system][0],
  wrong: (data, row) => data.rows.errors[view.system][row] > 0,
  sound: (data, row) => hasClip(row),
};

const sure = (data, row) => data.rows.confidence[view.system][row];
const ORDERS = {
  worst: (data) => (a, b) => lost(data, b) - lost(data, a) || data.rows.errors[view.system][b] - data.rows.errors[view.system][a] || sure(data, b) - sure(data, a) || a - b,
  best: (data) => (a, b) => lost(data, a) - lost(data, b) || sure(data, b) - sure(data, a) || a - b,
  errors: (data) => (a, b) => data.rows.errors[view.system][b] - data.rows.errors[view.system][a] || sure(data, b) - sure(data, a) || a - b,
  doubtful: (data) => (a, b) => sure(data, a) - sure(data, b) || a - b,
  id: () => (a, b) => a - b,
};

function chosen(data) {
  const columns = Object.entries(view.columns).filter(([, wanted]) => wanted !== "").map(([name, wanted]) => [data.rows.columns[name].codes, data.rows.columns[name].values.indexOf(wanted)]);
  const fits = (row) => columns.every(([codes, wanted]) => codes[row] === wanted) && KINDS[view.kind](data, row) &&
    (!view.confusion || (truthOf(data, row) === view.confusion[0] && data.rows.texts[row][3].some(([said]) => said === view.confusion[1]))) && (!view.text || searched(data, row));
  return data.rows.ids.map((_, row) => row).filter(fits).sort(ORDERS[view.order](data));
}

// Takes so many characters off a text; blanks come along, uncounted, as in the score.
function taker(text) {
  const characters = [...text];
  let place = 0;
  return (count) => {
    const start = place;
    for (let left = count; place < characters.length && (left > 0 || characters[place] === " "); place += 1) left -= characters[place] !== " ";
    return characters.slice(start, place).join("");
  };
}

// An alignment such as 5=1s3=2d as coloured text; a substituted character carries the reference above it.
function aligned(reference, said, runs) {
  const parts = [], fromReference = taker(reference), fromSaid = taker(said);
  for (const [, length, kind] of runs.matchAll(/(\d+)([=sdi])/g)) {
    const meant = kind === "i" ? "" : fromReference(+length), heard = kind === "d" ? "" : fromSaid(+length);
    if (kind === "=") parts.push(heard);
    if (kind === "s") parts.push(el("span", { class: "sub", title: `${meant} → ${heard}` }, el("ruby", {}, heard, el("rt", {}, meant))));
    if (kind === "d") parts.push(el("del", { class: "del", title: say("left out", "漏掉") }, meant.trimEnd()), meant.endsWith(" ") ? " " : "");
    if (kind === "i") parts.push(el("ins", { class: "ins", style: "text-decoration:none", title: say("added", "多出") }, heard));
  }
  return parts;
}

function result(data, row, number) {
  const wrong = data.rows.errors[number][row];
  const confidence = el("span", { class: "soft small", title: say("confidence", "置信度") }, ` ${(data.rows.confidence[number][row] / 10).toFixed(0)} %`);
  if (data.kind === "labels") return [el("span", { class: wrong ? "bad" : "good" }, wrong ? say("✗ wrong", "✗ 错") : say("✓ right", "✓ 对")), confidence];
  if (data.kind === "transcripts") return el("span", { class: wrong ? "" : "good" }, wrong ? say(`${wrong} of ${characters(data, row)} characters wrong`, `${characters(data, row)} 字中错 ${wrong} 字`) : say("✓ no error", "✓ 无误"));
  return el("span", { class: "soft" }, `${scoreName(data.scores[0].name)} ${decimals(100 * (data.scores[0].higher ? 1 - wrong : wrong), 1)}`);
}

function delta(data, row) {
  if (data.systems.length < 2) return null;
  const change = lost(data, row);
  if (change === 0) return el("span", { class: "badge" }, data.rows.errors[view.system][row] ? say("as wrong as before", "同样有误") : say("right as before", "同样正确"));
  const size = data.kind === "transcripts" ? ` ${change > 0 ? "+" : MINUS}${Math.abs(change)} ${say(Math.abs(change) === 1 ? "error" : "errors", "字")}`
    : data.kind === "labels" ? "" : ` ${decimals(-100 * change, 1)}`;
  return el("span", { class: `badge ${change > 0 ? "bad" : "good"}` }, (change > 0 ? say("▼ worse", "▼ 变差") : say("▲ better", "▲ 变好")) + size);
}

const player = (data, row) => clipPlayer(row, { preload: "metadata", "aria-label": say(`recording of ${data.rows.ids[row]}`, `录音 ${data.rows.ids[row]}`) });

const tongue = (data, row) => {
  const dialect = "dialect" in data.rows.columns ? value(data, "dialect", row) : "";
  return dialect.startsWith("yue") ? "zh-HK" : dialect.startsWith("en") ? "en" : "zh-CN";
};

function article(data, row, rank) {
  const [given, truth, reference, answers] = data.rows.texts[row], change = data.systems.length > 1 ? lost(data, row) : 0;
  const heard = data.kind === "transcripts";
  const said = ([raw, plain, runs]) => (heard && !view.written ? aligned(reference, plain, runs) : raw || el("span", { class: "soft" }, say("(nothing)", "（空）")));
  return el("article", { class: change > 0 ? "worse" : change < 0 ? "better" : "", tabindex: -1, "data-id": data.rows.ids[row] },
    el("header", {}, el("span", { class: "soft number" }, `${rank}`), delta(data, row),
      Object.keys(data.rows.columns).filter((name) => data.shown.includes(name)).map((name) => el("span", { class: "chip", title: columnName(name) }, value(data, name, row))),
      el("code", { class: "soft" }, data.rows.ids[row]), el("span", { style: "flex:1" }), player(data, row)),
    given ? el("p", { class: "given", lang: tongue(data, row) }, given) : null,
    el("div", { class: `says ${heard ? "heard" : ""}` },
      el("span", { class: "who" }, heard ? say("reference", "参考文本") : say("true", "标注")), el("span", { class: "what", lang: tongue(data, row) }, heard && !view.written ? reference : truth), el("span", { class: "result" }),
      answers.map((answer, number) => [el("span", { class: "who", style: `--colour:${colour(number)}` }, el("i", {}), data.systems[number].name),
        el("span", { class: "what", lang: tongue(data, row) }, said(answer)), el("span", { class: "result number small" }, result(data, row, number))])));
}

function found(data, rows) {
  const counts = data.systems.length > 1 ? tally(data, view.system, rows) : null;
  const cer = (number) => {
    const sums = rows.reduce(([wrong, length], row) => [wrong + data.rows.errors[number][row], length + characters(data, row)], [0, 0]);
    return sums[1] ? percent(sums[0] / sums[1]) : "—";
  };
  const share = (number) => percent(rows.filter((row) => data.rows.errors[number][row] === 0).length / Math.max(1, rows.length));
  const figure = data.kind === "transcripts" ? cer : data.kind === "labels" ? share : null;
  return [el("span", {}, el("b", { id: "count" }, rows.length.toLocaleString()), say(rows.length === 1 ? " row" : " rows", " 条"),
    counts ? [" · ", el("span", { class: "bad" }, say(`${counts.worse} worse`, `${counts.worse} 条变差`)), " · ", el("span", { class: "good" }, say(`${counts.better} better`, `${counts.better} 条变好`))] : null),
    figure ? el("span", { class: "soft small" }, `${data.kind === "transcripts" ? say("CER here ", "此处字错误率 ") : say("right here ", "此处正确率 ")}`, data.systems.map((_, number) => el("span", { class: "number", style: `color:${colour(number)};margin-left:.6rem` }, `${letter(number)} ${figure(number)}`))) : null];
}

function saveRows(data, rows) {
  const cell = (text) => `"${String(text ?? "").replace(/^[=+\-@\t]/, "'$&").replaceAll('"', '""')}"`;
  const lines = [["id", "input", "true", ...data.systems.map((system) => system.name)], ...rows.map((row) => [data.rows.ids[row], data.rows.texts[row][0], truthOf(data, row), ...data.rows.texts[row][3].map(([said]) => said)])];
  const address = URL.createObjectURL(new Blob(["\ufeff", lines.map((line) => line.map(cell).join(",")).join("\r\n")], { type: "text/csv" }));
  el("a", { href: address, download: `${data.task}-rows.csv` }).click();
}

function filterBar(data, render) {
  const set = (name) => (wanted) => { view[name] = wanted; view.page = 0; render(); };
  const counted = (name) => {
    const counts = new Map();
    data.rows.columns[name].codes.forEach((code) => counts.set(code, (counts.get(code) || 0) + 1));
    return [["", say("all", "全部")], ...data.rows.columns[name].values.map((one, code) => [one, `${one} (${counts.get(code) || 0})`])];
  };
  const many = data.systems.length > 1;
  const kinds = [["all", say("all rows", "全部")], ...(many ? [["worse", say("only regressions", "仅变差")], ["better", say("only improvements", "仅变好")], ["changed", say("answers differ", "回答不同")]] : []),
    ["wrong", say("with errors", "有错误")], ...(data.sound ? [["sound", say("with sound", "有录音")]] : [])];
  const orders = [...(many ? [["worst", say("worst regression first", "变差最多在前")], ["best", say("best improvement first", "变好最多在前")]] : []),
    ["errors", say("most errors first", "错误最多在前")], ["doubtful", say("least confident first", "最不确定在前")], ["id", say("by id", "按编号")]];
  let waiting;
  return el("div", { class: "filters" }, el("div", { class: "controls" },
    data.systems.length > 2 ? choice(say("Against A", "与 A 对比"), data.systems.map((system, number) => [String(number), system.name]).slice(1), String(view.system), (number) => set("system")(+number), "against") : null,
    choice(say("Show", "显示"), kinds, view.kind, set("kind"), "kind"), choice(say("Order", "排序"), orders, view.order, set("order"), "order"),
    Object.keys(data.rows.columns).map((name) => choice(columnName(name), counted(name), view.columns[name] || "", (wanted) => { view.columns[name] = wanted; view.page = 0; render(); }, `by-${name}`)),
    el("label", { class: "wide" }, say("Search", "搜索"), el("input", { id: "search", type: "search", value: view.text, placeholder: say("text, label or id", "文本、类别或编号"), autocomplete: "off",
      oninput: (event) => { clearTimeout(waiting); waiting = setTimeout(() => set("text")(event.target.value.trim().toLowerCase()), 120); } })),
    data.kind === "transcripts" ? el("button", { "aria-pressed": String(view.written), onclick: (event) => { view.written = !view.written; event.target.setAttribute("aria-pressed", String(view.written)); render(); },
      title: say("with punctuation and script as answered, without alignment", "显示原始回答（含标点），不做对齐") }, say("as written", "原文")) : null));
}

const LEGEND = () => el("span", { class: "legend" }, el("span", {}, el("span", { class: "sub" }, say("substituted", "替换")), say(" (reference above)", "（上方为参考）")),
  el("span", {}, el("span", { class: "del" }, say("left out", "漏掉"))), el("span", {}, el("span", { class: "ins" }, say("added", "多出"))));

function rowsView(data) {
  data.shown = Object.keys(data.rows.columns).filter((name) => !["source", "label_source", "label_batch", "language"].includes(name));
  view.system = Math.min(view.system, data.systems.length - 1);
  if (data.systems.length < 2 && ["worst", "best"].includes(view.order)) view.order = "errors";
  const list = el("div", { id: "list" }), line = el("div", { class: "found", "aria-live": "polite" }), pager = el("div", { class: "pages" });
  const turn = (step) => { view.page += step; render(); $("#rows").scrollIntoView(); };
  let rows = [];
  function render() {
    rows = chosen(data);
    const pages = Math.max(1, Math.ceil(rows.length / SIZE));
    view.page = Math.min(Math.max(0, view.page), pages - 1);
    const start = view.page * SIZE;
    line.replaceChildren(...fill(document.createDocumentFragment(), null, [found(data, rows),
      view.confusion ? el("button", { onclick: () => { view.confusion = null; render(); } }, `${view.confusion.join(" → ")} ✕`) : null, data.kind === "transcripts" && !view.written ? LEGEND() : null]).childNodes);
    list.replaceChildren(...rows.slice(start, start + SIZE).map((row, place) => article(data, row, start + place + 1)));
    if (!rows.length) list.replaceChildren(el("p", { class: "card soft" }, say("No row fits these filters.", "没有符合筛选条件的行。")));
    pager.replaceChildren(el("button", { disabled: view.page === 0, onclick: () => turn(-1) }, say("← previous", "← 上一页")), el("span", { class: "number soft" }, `${view.page + 1} / ${pages}`),
      el("button", { disabled: view.page === pages - 1, onclick: () => turn(1) }, say("next →", "下一页 →")), el("button", { onclick: () => saveRows(data, rows) }, say("save as CSV", "另存为 CSV")));
  }
  data.showRows = () => { const section = rowsView(data); $("#rows").replaceWith(section); section.scrollIntoView(); };
  render();
  const part = data.rows.ids.length < data.rows.total ? el("p", { class: "soft small" }, say(`The ${data.rows.ids.length.toLocaleString()} rows of ${data.rows.total.toLocaleString()} that differ most.`, `共 ${data.rows.total.toLocaleString()} 条，此处为差异最大的 ${data.rows.ids.length.toLocaleString()} 条。`)) : null;
  return el("section", { id: "rows" }, el("div", { class: "heading" }, el("h2", {}, say("Row by row", "逐条对比")),
    el("span", { class: "soft small" }, el("kbd", {}, "j"), " ", el("kbd", {}, "k"), say(" next, previous ", " 下一条、上一条 "), data.sound ? [el("kbd", {}, "p"), say(" play ", " 播放 ")] : null, el("kbd", {}, "/"), say(" search", " 搜索"))),
    part, filterBar(data, render), line, list, pager);
}

// j and k walk through the rows, p plays the clip of the row one is in, / goes to the search.
function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const articles = [...document.querySelectorAll("#list article")], here = articles.findIndex((one) => one.contains(document.activeElement));
  if (event.key === "/") { event.preventDefault(); $("#search").focus(); }
  if (event.key === "j" || event.key === "k") {
    const next = articles[Math.min(articles.length - 1, Math.max(0, here + (event.key === "j" ? 1 : -1)))];
    if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "center" }); }
  }
  const sound = event.key === "p" && articles[here] && $("audio", articles[here]);
  if (sound) sound.paused ? sound.play() : sound.pause();
}
