// Slices as a forest plot: a table whose rows carry their own small drawings, so that it reads, prints and narrows.
const forest = { score: null, column: "", sorted: "name" };

function ticks(low, high, wanted = 4) {
  const rough = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((times) => times * power).find((one) => one >= rough - 1e-12);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-6; at += step) found.push(Math.abs(at) < step * 1e-6 ? 0 : at);
  return found;
}

// Both ends of an axis over all values, with a little air; `hold` stay inside it.
function range(values, hold = []) {
  const all = [...values, ...hold].filter((value) => value !== null && value !== undefined);
  if (!all.length) return [0, 1];
  const [low, high] = [Math.min(...all), Math.max(...all)], air = (high - low || 0.1) * 0.06;
  return [low - air, high + air];
}

const at = ([low, high], value) => `${(100 * (value - low)) / (high - low)}%`;

// The mark of a system: a disc, a diamond, a square, so that colour is not all that tells them apart.
function mark(number, x, y, title) {
  const shapes = ["M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0", "M0-5.6 5.6 0 0 5.6-5.6 0z", "M-4-4H4V4H-4z", "M0-5 5 4H-5z", "M-5-4H5L0 5z"];
  return draw("svg", { x, overflow: "visible" }, draw("path", { d: shapes[number % 5], transform: `translate(0 ${y})`, fill: colour(number) }, title ? draw("title", {}, title) : null));
}

function interval(axis, figure, number, y, text, stroke) {
  const [, , , , , estimate, low, high] = figure;
  if (estimate === null) return [];
  const ends = low === null ? [] : [draw("line", { x1: at(axis, low), x2: at(axis, high), y1: y, y2: y, stroke: stroke || colour(number), "stroke-width": 2.2, "stroke-linecap": "round" })];
  return [...ends, mark(number, at(axis, estimate), y, text)];
}

function plot(axis, height, lines, marks, zone) {
  return draw("svg", { height, "aria-hidden": "true" },
    zone ? draw("rect", { x: at(axis, Math.max(axis[0], zone[0])), width: `${(100 * (Math.min(axis[1], zone[1]) - Math.max(axis[0], zone[0]))) / (axis[1] - axis[0])}%`, y: -3, height: height + 6, class: "bar-zone" }) : null,
    lines.filter(([value]) => value >= axis[0] && value <= axis[1]).map(([value, kind]) => draw("line", { x1: at(axis, value), x2: at(axis, value), y1: -3, y2: height + 3, class: kind })),
    marks);
}

function axisLine(axis, text) {
  return draw("svg", { class: "axis", height: 18, "aria-hidden": "true" }, ticks(...axis).map((value) =>
    draw("text", { x: at(axis, value), y: 13, "text-anchor": "middle" }, text(value))));
}

function limits(data, score, column) {
  const bars = data.bars.filter((bar) => bar.score === score.name), own = bars.filter((bar) => bar.slice === column);
  const least = (found) => (found.length ? Math.min(...found.map((bar) => bar.margin)) : null), relative = (bar) => bar.margin !== null;
  // the margin over all rows is shaded for every slice, but is a line only where it is a bar
  return { limit: own.map((bar) => bar.at_least ?? bar.at_most).filter((value) => value !== null),
    margin: least(own.filter(relative)), guide: least(bars.filter(relative)) };
}

function groups(data, score) {
  const figures = data.systems[0].figures.map((figure, number) => [figure, number]).filter(([figure]) => figure[0] === score.name);
  const columns = [...new Set(figures.map(([figure]) => figure[1]))].filter((name) => name === null || !forest.column || name === forest.column);
  return columns.map((name) => [name, ordered(data, figures.filter(([figure]) => figure[1] === name))]);
}

function ordered(data, figures) {
  const last = data.systems.length - 1, score = data.scores.find((one) => one.name === forest.score);
  const change = ([, number]) => (last ? data.systems[last].differences[number][5] ?? 0 : 0);
  const keys = { name: null, rows: (a, b) => b[0][3] - a[0][3], worst: (a, b) => (change(a) - change(b)) * (score.higher ? 1 : -1) };
  return keys[forest.sorted] ? [...figures].sort(keys[forest.sorted]) : figures;
}

function forestRow(data, score, axes, name, [figure, number]) {
  const figures = data.systems.map((system) => system.figures[number]), height = 13 * figures.length + 7;
  const others = data.systems.slice(1).map((system, index) => [system.differences[number], index + 1]);
  const { limit, margin, guide } = limits(data, score, name), zone = guide === null ? null : score.higher ? [-Infinity, -guide] : [guide, Infinity];
  const y = (place, count) => (height * (place + 0.5)) / count;
  const pick = () => data.choose(figure[1], figure[2]);
  return el("tr", { class: name === null ? "all" : "" },
    el("td", { class: "slice" }, name === null ? say("All rows", "全部行") : el("button", { class: "button", onclick: pick, title: say("show these rows", "查看这些行") }, figure[2]),
      el("span", { class: "narrow soft small" }, `${figures.map((one) => figureText(score, one[5])).join(" → ")} · n ${figure[3].toLocaleString()}`)),
    el("td", { class: "count number" }, figure[3].toLocaleString()),
    figures.map((one, system) => el("td", { class: "value number", style: `color:${colour(system)}` }, figureText(score, one[5]))),
    el("td", { class: "plot own" }, plot(axes.own, height, limit.map((value) => [value, "bar-line"]),
      figures.map((one, system) => interval(axes.own, one, system, y(system, figures.length), figureText(score, one[5]))))),
    others.length ? el("td", { class: "plot" }, plot(axes.change, height, [[0, "zero"], ...(margin === null ? [] : [[score.higher ? -margin : margin, "bar-line"]])],
      others.map(([one, system], place) => interval(axes.change, one, system, y(place, others.length), differenceText(score, one))), zone)) : null,
    others.length ? el("td", { class: "change number" }, others.map(([one, system]) => el("div", { class: direction(score, one) },
      others.length > 1 ? el("span", { style: `color:${colour(system)};float:left` }, letter(system)) : null, differenceText(score, one)))) : null);
}

function forestTable(data) {
  const score = data.scores.find((one) => one.name === forest.score), found = groups(data, score);
  const numbers = found.flatMap(([, figures]) => figures.map(([, number]) => number));
  const ends = (systems, field) => systems.flatMap((system) => numbers.flatMap((number) => system[field][number].slice(5)));
  const { guide } = limits(data, score, null), beyond = (guide || 0) * (score.higher ? -1.2 : 1.2);
  const axes = { own: range(ends(data.systems, "figures")), change: range(ends(data.systems.slice(1), "differences"), [0, beyond]) };
  if (score.share) axes.own[0] = Math.max(axes.own[0], -0.01);
  const text = (value) => (score.share ? `${+(100 * value).toFixed(1)}`.replace("-", MINUS) : `${+value.toFixed(3)}`.replace("-", MINUS));
  const sides = score.higher ? [say("← worse", "← 变差"), say("better →", "变好 →")] : [say("← better", "← 变好"), say("worse →", "变差 →")];
  const many = data.systems.length > 1;
  return el("table", { class: "forest" },
    el("thead", {}, el("tr", {}, el("th", { class: "slice" }, say("slice", "切片")), el("th", { class: "count number" }, say("rows", "行数")),
      data.systems.map((_, number) => el("th", { class: "value number", style: `color:${colour(number)}` }, letter(number))),
      el("th", { class: "plot own" }, scoreName(score.name) + (score.share ? " %" : ""), axisLine(axes.own, text)),
      many ? el("th", { class: "plot" }, el("div", { class: "sides" }, sides.map((side) => el("span", {}, side))), axisLine(axes.change, text)) : null,
      many ? el("th", { class: "change number" }, say("difference", "差值"), score.share ? say(", points", "（百分点）") : "") : null)),
    el("tbody", {}, found.map(([name, figures]) => [
      name === null ? null : el("tr", { class: "group" }, el("td", { class: "slice" }, columnName(name)), el("td", { class: "count" }), data.systems.map(() => el("td", { class: "value" })),
        el("td", { class: "own" }), many ? [el("td", {}), el("td", { class: "change" })] : null),
      figures.map((figure) => forestRow(data, score, axes, name, figure))])));
}

function choice(label, options, value, change, id) {
  return el("label", {}, label, el("select", { id, onchange: (event) => change(event.target.value) },
    options.map(([key, words]) => el("option", { value: key, selected: key === value }, words))));
}

function slices(data) {
  forest.score ??= data.scores[0].name;
  const columns = [...new Set(data.systems[0].figures.map((figure) => figure[1]).filter(Boolean))];
  const holder = el("div", { class: "scroll" });
  const render = () => holder.replaceChildren(forestTable(data));
  const set = (name) => (value) => { forest[name] = value; render(); };
  render();
  return el("section", { id: "slices" },
    el("div", { class: "heading" }, el("h2", {}, say("Slices", "切片")), el("div", { class: "controls" },
      choice(say("Score", "指标"), data.scores.map((score) => [score.name, scoreName(score.name)]), forest.score, set("score"), "forest-score"),
      choice(say("Slice by", "切片方式"), [["", say("everything", "全部")], ...columns.map((name) => [name, columnName(name)])], forest.column, set("column"), "forest-column"),
      choice(say("Order", "排序"), [["name", say("by name", "按名称")], ["worst", say("worst first", "变差最多在前")], ["rows", say("most rows first", "行数多在前")]], forest.sorted, set("sorted"), "forest-order"))),
    el("div", { class: "card" }, holder, el("p", { class: "soft small", style: "margin-top:.6rem" }, say(
      "Whiskers are 95 % intervals; differences are paired, on the same rows, resampled by call and caller. Dashed red: a bar of this site; shaded: worse than the margin allowed over all rows.",
      "须线为 95 % 置信区间；差值为同一行上的配对差，按来电与来电人整群重抽样。红色虚线：本站点的门槛；阴影：超出总体允许的差距。"))));
}
