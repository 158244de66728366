// Training of each version, from its run in MLflow: what was logged at several steps as curves, the rest in a table.
const WIDE = 330, HIGH = 170, EDGE = { left: 44, right: 10, top: 8, bottom: 24 };

function metricName(name) {
  const [part, score] = [name.slice(0, name.indexOf("/")), name.slice(name.indexOf("/") + 1)];
  const where = { train: say("training", "训练"), validation: say("validation", "验证") }[part] || part;
  return `${score === "loss" ? say("loss", "损失") : scoreName(score)} · ${where}`;
}

function curveFigure(data, name) {
  const lines = data.systems.map((system, number) => [system.curves[name], number]).filter(([curve]) => curve);
  const steps = range(lines.flatMap(([curve]) => curve.map(([step]) => step))), values = range(lines.flatMap(([curve]) => curve.map(([, value]) => value)), [0]);
  steps[0] = Math.max(0, steps[0]); values[0] = Math.max(0, values[0]);
  const x = (step) => EDGE.left + ((WIDE - EDGE.left - EDGE.right) * (step - steps[0])) / (steps[1] - steps[0]);
  const y = (value) => HIGH - EDGE.bottom - ((HIGH - EDGE.top - EDGE.bottom) * (value - values[0])) / (values[1] - values[0]);
  return el("figure", { class: "card" }, el("figcaption", {}, metricName(name)),
    draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, width: "100%", role: "img", "aria-label": metricName(name) },
      ticks(...values).map((value) => [draw("line", { x1: EDGE.left, x2: WIDE - EDGE.right, y1: y(value), y2: y(value), class: "grid" }),
        draw("text", { x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, `${+value.toPrecision(3)}`)]),
      ticks(...steps).map((step) => draw("text", { x: x(step), y: HIGH - 6, "text-anchor": "middle" }, `${+step.toPrecision(4)}`)),
      lines.map(([curve, number]) => [
        draw("polyline", { class: "curve", stroke: colour(number), points: curve.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }),
        draw("circle", { cx: x(curve.at(-1)[0]), cy: y(curve.at(-1)[1]), r: 3.5, fill: colour(number) }, draw("title", {}, `${data.systems[number].name}: ${+curve.at(-1)[1].toPrecision(4)}`))])),
    el("div", { class: "legend" }, lines.map(([curve, number]) => el("span", {}, el("span", { class: "key", style: `background:${colour(number)}` }),
      `${letter(number)} ${+curve.at(-1)[1].toPrecision(4)} `, el("span", { class: "soft" }, say(`at step ${curve.at(-1)[0]}`, `第 ${curve.at(-1)[0]} 步`))))));
}

function lastTable(data, names) {
  return el("details", { style: "margin-top:.8rem" }, el("summary", {}, say("Validation at the end of training", "训练结束时的验证指标")),
    el("div", { class: "card scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", {}, ""), data.systems.map((_, number) => el("th", { class: "number", style: `color:${colour(number)}` }, letter(number))))),
      el("tbody", {}, names.map((name) => el("tr", {}, el("td", {}, metricName(name)),
        data.systems.map((system) => el("td", { class: "number" }, name in system.last ? `${+system.last[name].toPrecision(4)}` : "—"))))))));
}

function training(data) {
  const all = (field) => [...new Set(data.systems.flatMap((system) => Object.keys(system[field])))].sort((a, b) => b.localeCompare(a));
  const curves = all("curves"), last = all("last");
  if (!curves.length && !last.length) return null;
  return el("section", { id: "training" }, el("div", { class: "heading" }, el("h2", {}, say("Training", "训练过程"))),
    el("div", { class: "curves" }, curves.map((name) => curveFigure(data, name))), last.length ? lastTable(data, last) : null);
}
