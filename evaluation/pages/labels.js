// For labels and label trees: what is taken for what, how each branch fares, and whether confidences can be believed.
const BINS = 10, MATRIX = 14, CONFUSIONS = 12;
const level = (label, depth) => label.split("/").slice(0, depth).join("/");
const truthOf = (data, row) => data.rows.texts[row][1];
const saidBy = (data, row, number) => data.rows.texts[row][3][number][0];
const percent = (share, places = 1) => `${decimals(100 * share, places)} %`;

function confusions(data) {
  const found = new Map();
  data.rows.texts.forEach(([, truth, , answers]) => answers.forEach(([said], number) => {
    if (said === truth) return;
    const key = `${truth}\u0000${said}`;
    if (!found.has(key)) found.set(key, { truth, said, counts: data.systems.map(() => 0) });
    found.get(key).counts[number] += 1;
  }));
  return [...found.values()];
}

function confusionTable(data) {
  const last = data.systems.length - 1, change = (one) => one.counts[last] - one.counts[0];
  const all = confusions(data).sort((a, b) => change(b) - change(a) || Math.max(...b.counts) - Math.max(...a.counts));
  const line = (one) => el("tr", {},
    el("td", {}, el("button", { class: "button", onclick: () => data.chooseConfusion(one.truth, one.said), title: say("show these rows", "查看这些行") },
      one.truth, el("span", { class: "arrow", "aria-label": say("taken for", "被判为") }, "→"), one.said)),
    one.counts.map((count, number) => el("td", { class: "number", style: `color:${colour(number)}` }, count)),
    last ? el("td", { class: `number ${change(one) > 0 ? "bad" : change(one) < 0 ? "good" : ""}` }, (change(one) > 0 ? "+" : "") + decimals(change(one), 0)) : null);
  const body = el("tbody", {}, all.slice(0, CONFUSIONS).map(line));
  const more = el("button", { onclick: () => { body.replaceChildren(...all.map(line)); more.remove(); } }, say(`all ${all.length}`, `全部 ${all.length} 种`));
  return el("div", { class: "card" }, el("h3", {}, say("Taken for something else", "混淆最多的类别")),
    all.length ? el("div", { class: "scroll forest-less" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, say("true → answered", "标注 → 回答")),
      data.systems.map((_, number) => el("th", { class: "number", style: `color:${colour(number)}` }, letter(number))), last ? el("th", { class: "number" }, say("change", "变化")) : null)), body))
      : el("p", { class: "soft" }, say("Nothing was.", "没有混淆。")), all.length > CONFUSIONS ? more : null);
}

function branches(data) {
  const root = { name: "", rows: 0, right: data.systems.map(() => 0), below: new Map() };
  data.rows.texts.forEach(([, truth, , answers]) => {
    let node = root;
    for (const part of truth.split("/")) {
      if (!node.below.has(part)) node.below.set(part, { name: part, rows: 0, right: data.systems.map(() => 0), below: new Map() });
      node = node.below.get(part);
      node.rows += 1;
      answers.forEach(([said], number) => { node.right[number] += said === truth; });
    }
  });
  return root;
}

function branchLine(node) {
  const last = node.right.length - 1, share = (number) => node.right[number] / node.rows, change = 100 * (share(last) - share(0));
  return [el("span", { style: "overflow-wrap:anywhere" }, node.name), el("span", { class: "number soft" }, node.rows),
    node.right.map((_, number) => el("span", { class: "number", style: `color:${colour(number)}` }, percent(share(number)))),
    el("span", { class: `number delta ${change > 0.05 ? "good" : change < -0.05 ? "bad" : "soft"}` }, last ? (change > 0 ? "+" : "") + decimals(change, 1) : "")];
}

function branchView(node) {
  const loss = (one) => (one.right.at(-1) - one.right[0]) / one.rows;
  const below = [...node.below.values()].sort((a, b) => loss(a) - loss(b) || b.rows - a.rows);
  return below.map((one) => (one.below.size
    ? el("details", {}, el("summary", {}, branchLine(one)), branchView(one))
    : el("div", { class: "leaf" }, branchLine(one))));
}

function treeCard(data) {
  return el("div", { class: "card" }, el("h3", {}, say("Right, by branch of the tree", "各分支的正确率")),
    el("p", { class: "soft small" }, say("Rows of the branch, and the share whose whole label is right; the branch that lost most comes first.", "该分支的行数与完整标签正确的比例；下降最多的在前。")),
    el("div", { class: "tree", style: `--systems:${data.systems.length}` }, branchView(branches(data))));
}

function matrixCard(data, number, depth, names) {
  const index = new Map(names.map((name, place) => [name, place])), counts = names.map(() => names.map(() => 0));
  data.rows.texts.forEach((_, row) => { counts[index.get(level(truthOf(data, row), depth))][index.get(level(saidBy(data, row, number), depth))] += 1; });
  const cell = (count, total, same) => {
    const share = total ? count / total : 0, tone = same ? "var(--good)" : "var(--bad)";
    return el("td", { class: "number", style: `background:color-mix(in srgb, ${tone} ${Math.round(55 * share)}%, transparent);text-align:center` }, count || "");
  };
  return el("div", { class: "card scroll" }, el("h3", { style: `color:${colour(number)}` }, `${letter(number)} · ${data.systems[number].name}`),
    el("table", { class: "small" }, el("thead", {}, el("tr", {}, el("th", {}, say("true ↓ answered →", "标注 ↓ 回答 →")), names.map((name) => el("th", { style: "text-align:center" }, name.split("/").at(-1))))),
      el("tbody", {}, counts.map((line, truth) => el("tr", {}, el("th", {}, names[truth].split("/").at(-1)), line.map((count, said) => cell(count, line.reduce((a, b) => a + b, 0), truth === said)))))));
}

function matrices(data) {
  const depths = Math.max(...data.rows.texts.map(([, truth]) => truth.split("/").length));
  const names = [...new Set(data.rows.texts.flatMap(([, truth, , answers]) => [truth, ...answers.map(([said]) => said)]).map((label) => level(label, 1)))].sort();
  if (names.length > MATRIX || names.length < 2) return null;
  return [el("h3", { style: "margin-top:1.2rem" }, depths > 1 ? say("Confusion at level 1", "一级分类混淆矩阵") : say("Confusion", "混淆矩阵")),
    el("div", { class: "two" }, data.systems.map((_, number) => matrixCard(data, number, 1, names)))];
}

// Wilson's interval of a share.
function wilson(hits, rows) {
  const z = 1.96, share = hits / rows, spread = (z * z) / rows, middle = (share + spread / 2) / (1 + spread);
  const half = Math.sqrt(share * (1 - share) * spread + (spread * spread) / 4) / (1 + spread);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

function bins(data, number) {
  const found = Array.from({ length: BINS }, () => ({ rows: 0, hits: 0, confidence: 0 }));
  data.rows.confidence[number].forEach((permille, row) => {
    const bin = found[Math.min(BINS - 1, Math.floor((permille * BINS) / 1000))];
    bin.rows += 1; bin.confidence += permille / 1000; bin.hits += data.rows.errors[number][row] === 0;
  });
  return found.filter((bin) => bin.rows);
}

function reliabilityFigure(data, number) {
  const side = 240, edge = 34, found = bins(data, number), most = Math.max(...found.map((bin) => bin.rows));
  const x = (value) => edge + (side - edge - 14) * value, y = (value) => side - edge - (side - edge - 8) * value;
  const name = `${letter(number)} · ${data.systems[number].name}`;
  return el("figure", { class: "card" }, el("figcaption", { style: `color:${colour(number)}` }, name),
    draw("svg", { viewBox: `0 0 ${side} ${side}`, width: "100%", role: "img", "aria-label": say(`reliability of ${name}`, `${name} 的可靠性`) },
      [0, 0.25, 0.5, 0.75, 1].map((value) => [draw("line", { x1: x(0), x2: x(1), y1: y(value), y2: y(value), class: "grid" }),
        draw("text", { x: edge - 5, y: y(value) + 4, "text-anchor": "end" }, `${100 * value}`), draw("text", { x: x(value), y: side - edge + 14, "text-anchor": "middle" }, `${100 * value}`)]),
      draw("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "zero", "stroke-dasharray": "4 3" }),
      found.map((bin) => {
        const confidence = bin.confidence / bin.rows, right = bin.hits / bin.rows, [low, high] = wilson(bin.hits, bin.rows);
        return [draw("line", { x1: x(confidence), x2: x(confidence), y1: y(low), y2: y(high), stroke: colour(number), "stroke-width": 1.6 }),
          draw("circle", { cx: x(confidence), cy: y(right), r: 2.5 + 6 * Math.sqrt(bin.rows / most), fill: colour(number), "fill-opacity": 0.75 },
            draw("title", {}, say(`${bin.rows} rows: confidence ${percent(confidence)}, right ${percent(right)}`, `${bin.rows} 条：置信度 ${percent(confidence)}，正确 ${percent(right)}`)))];
      }),
      draw("text", { x: (side + edge) / 2, y: side - 4, "text-anchor": "middle" }, say("confidence %", "置信度 %")),
      draw("text", { x: 9, y: (side - edge) / 2, "text-anchor": "middle", transform: `rotate(-90 9 ${(side - edge) / 2})` }, say("right %", "正确率 %"))));
}

function labelsView(data) {
  if (data.kind !== "labels") return null;
  const deep = data.rows.texts.some(([, truth]) => truth.includes("/"));
  const part = data.rows.ids.length < data.rows.total ? el("p", { class: "soft small" }, say(`Of the ${data.rows.ids.length} rows on this page.`, `仅统计本页所含的 ${data.rows.ids.length} 行。`)) : null;
  return el("section", { id: "labels" }, el("div", { class: "heading" }, el("h2", {}, say("Labels", "分类"))), part,
    el("div", { class: "two" }, confusionTable(data), deep ? treeCard(data) : null), matrices(data),
    el("h3", { style: "margin-top:1.2rem" }, say("Reliability: is a confidence of 80 % right in 80 of 100?", "可靠性：置信度 80 % 的回答，是否 100 条中有 80 条正确？")),
    el("div", { class: "reliability" }, data.systems.map((_, number) => reliabilityFigure(data, number))));
}
