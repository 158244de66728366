// One question after the other; answers stay in this browser and leave it as a table.
const state = { place: 0, answers: {} };
const answerOf = (item) => state.answers[item.item] || { chosen: null, correction: "", comment: "" };
const isDone = (item) => answerOf(item).chosen !== null || answerOf(item).correction.trim() !== "";

function keep(data, item, change) {
  state.answers[item.item] = { ...answerOf(item), ...change };
  kept.set(`hotline.sheet.${data.sheet}`, JSON.stringify(state.answers));
}

function choose(data, item, chosen) {
  keep(data, item, { chosen });
  const open = data.items.findIndex((other, place) => place > state.place && !isDone(other));
  if (data.purpose === "review" && open >= 0) state.place = open;
  render(data);
}

const optionName = (data, number) => (data.purpose === "review" ? [say("Left", "左"), say("Right", "右")][number] : say(`Option ${number + 1}`, `选项 ${number + 1}`));

function question(data) {
  return data.purpose === "review" ? say("Which answer is better?", "哪个回答更好？") : say("Which is right? The reference is among them.", "哪一个是对的？其中一个是现有标注。");
}

function options(data, item) {
  return el("div", { class: "options" }, item.options.map((text, number) => el("button", { class: "option", "aria-pressed": String(answerOf(item).chosen === number + 1), onclick: () => choose(data, item, number + 1) },
    el("span", { class: "name" }, el("kbd", {}, `${number + 1}`), ` ${optionName(data, number)}`), text || el("span", { class: "soft" }, say("(nothing)", "（空）")))));
}

function otherwise(data, item) {
  const words = data.purpose === "review" ? say("as good as each other", "不分上下") : say("none of them", "都不对");
  return [el("button", { "aria-pressed": String(answerOf(item).chosen === 0), onclick: () => choose(data, item, 0) }, el("kbd", {}, "0"), ` ${words}`),
    data.purpose === "audit" && answerOf(item).chosen === 0 ? el("label", {}, say("What is right?", "正确的是？"), el("input", { type: "text", id: "correction", value: answerOf(item).correction, oninput: (event) => keep(data, item, { correction: event.target.value }) })) : null,
    el("label", {}, say("Comment (optional)", "备注（可选）"), el("input", { type: "text", id: "comment", value: answerOf(item).comment, oninput: (event) => keep(data, item, { comment: event.target.value }) }))];
}

function save(data) {
  const cell = (text) => `"${String(text).replace(/^[=+\-@\t]/, "'$&").replaceAll('"', '""')}"`;
  const sides = { 0: "tie", 1: "left", 2: "right" }, review = data.purpose === "review";
  const header = review ? ["item", "preferred", "comment"] : ["item", "right", "correction", "comment"];
  const line = (item) => {
    const { chosen, correction, comment } = answerOf(item);
    if (review) return [item.item, chosen === null ? "" : sides[chosen], comment];
    return [item.item, chosen === null ? "" : chosen, chosen === 0 ? correction : "", comment];
  };
  const text = [header, ...data.items.map(line)].map((cells) => cells.map(cell).join(",")).join("\r\n");
  el("a", { href: URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" })), download: `${data.task}-${data.purpose}.csv` }).click();
}

function turn(data, step) {
  state.place = Math.min(data.items.length - 1, Math.max(0, state.place + step));
  render(data);
}

function render(data) {
  showLanguage();
  const item = data.items[state.place], done = data.items.filter(isDone).length;
  $("#page").replaceChildren(el("main", {},
    el("div", { class: "row spread" }, el("h1", {}, question(data)), languageButton(() => render(data))),
    el("p", { class: "soft" }, taskSummary(data)),
    el("div", { class: "bar", role: "progressbar", "aria-valuenow": done, "aria-valuemax": data.items.length, "aria-label": say("answered", "已答") }, el("i", { style: `width:${(100 * done) / data.items.length}%` })),
    el("div", { class: "row spread soft small" }, el("span", {}, `${state.place + 1} / ${data.items.length}`), el("span", { id: "done" }, say(`${done} answered`, `已答 ${done}`))),
    clipPlayer(item.item, { "aria-label": say("recording", "录音") }),
    item.input ? el("div", { class: "card asked" }, item.input) : null,
    options(data, item), otherwise(data, item),
    el("div", { class: "row spread" }, el("span", { class: "row" }, el("button", { disabled: state.place === 0, onclick: () => turn(data, -1) }, say("← previous", "← 上一条")),
      el("button", { disabled: state.place === data.items.length - 1, onclick: () => turn(data, 1) }, say("next →", "下一条 →"))),
      el("button", { id: "save", class: done === data.items.length ? "primary" : "", onclick: () => save(data) }, say("save answers", "保存答案")))));
  $("#page").removeAttribute("aria-busy");
}

function pressed(data, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT") return;
  const item = data.items[state.place], number = Number(event.key);
  if (event.key === "ArrowLeft") turn(data, -1);
  if (event.key === "ArrowRight") turn(data, 1);
  if (/^[0-9]$/.test(event.key) && number <= item.options.length) choose(data, item, number);
  if (event.key === "p" && $("audio")) $("audio").paused ? $("audio").play() : $("audio").pause();
}

unpack("data").then((data) => {
  state.answers = JSON.parse(kept.get(`hotline.sheet.${data.sheet}`) || "{}");
  state.place = Math.max(0, data.items.findIndex((item) => !isDone(item)));
  render(data);
  addEventListener("keydown", (event) => pressed(data, event));
  document.body.dataset.ready = "yes";
});
