// The top: which versions, what the figures say in a sentence, and the verdict on each.
const short = (digest) => (digest ? digest.slice(0, 12) : "—");
const colour = (number) => `var(--s${number % 5})`;
const overall = (figures, score) => figures.find((figure) => figure[0] === score.name && figure[1] === null);

function code(digest, title) {
  return el("code", { title: `${title ? `${title} ` : ""}${digest || ""}` }, short(digest));
}

function title(data) {
  const names = data.systems.map((system, number) => [
    number ? el("span", { class: "versus" }, say("against", "对")) : "",
    el("span", { style: `color:${colour(number)}` }, system.name),
  ]);
  // the baseline is named last: "B against A"
  const [first, ...others] = data.systems;
  const listed = others.flatMap((system, number) => [
    number ? " · " : "", el("span", { style: `color:${colour(number + 1)}` }, system.name),
  ]);
  return el("div", {},
    el("h1", {}, others.length ? [listed, el("span", { class: "versus" }, say(" against ", " 对比 ")),
      el("span", { style: `color:${colour(0)}` }, first.name)] : names),
    el("div", { class: "meta" },
      el("span", {}, `${data.task} · ${taskSummary(data)}`),
      el("span", {}, say("test rows ", "测试行 "), el("b", {}, data.rows.total.toLocaleString())),
      el("span", {}, say("snapshot ", "语料快照 "), code(data.snapshot)),
      el("span", {}, say("text rules ", "文本规则 "), code(data.text_rules)),
      el("span", {}, say("site ", "站点 "), `${data.site} (${data.profile})`),
      el("span", {}, data.made.replace("T", " ").replace("+00:00", " UTC"))));
}

// Rows that got worse, better, or stayed, of one system against the first.
function tally(data, number, rows) {
  const [a, b] = [data.rows.errors[0], data.rows.errors[number]];
  const counts = { worse: 0, better: 0, same: 0 };
  for (const row of rows) counts[b[row] > a[row] ? "worse" : b[row] < a[row] ? "better" : "same"] += 1;
  return counts;
}

function lead(data, number) {
  const score = data.scores[0], [first, other] = [data.systems[0], data.systems[number]];
  const change = overall(other.differences, score);
  if (!change) return el("p", { class: "lead" }, say("No figures.", "没有数据。"));
  const verdict = direction(score, change);
  const words = {
    good: say("is better than", "优于"), bad: say("is worse than", "差于"),
    open: say("is not shown to differ from", "尚未显示出不同于"),
  }[verdict];
  const values = [first, other].map((system) => figureText(score, overall(system.figures, score)[5]));
  return el("p", { class: "lead" },
    el("strong", { style: `color:${colour(number)}` }, other.name), " ",
    el("strong", { class: verdict }, words), " ",
    el("strong", { style: `color:${colour(0)}` }, first.name),
    say(` in ${scoreName(score.name)}: `, `，${scoreName(score.name)} `),
    el("span", { class: "number" }, `${values[0]} → ${values[1]}`), say(", ", "，"),
    el("span", { class: `number ${verdict}` }, differenceText(score, change)),
    score.share ? say(" points.", " 个百分点。") : say(".", "。"));
}

function tallies(data, number, rows) {
  const counts = tally(data, number, rows), total = Math.max(1, rows.length);
  const shares = [["worse", "var(--bad)", say("worse", "变差")], ["same", "var(--line)", say("as before", "不变")], ["better", "var(--good)", say("better", "变好")]];
  return [
    el("div", { class: "tallies", "aria-hidden": "true" },
      shares.map(([name, ground]) => el("i", { style: `background:${ground};width:${(100 * counts[name]) / total}%` }))),
    el("div", { class: "legend" }, shares.map(([name, ground, words]) =>
      el("span", {}, el("span", { class: "key", style: `background:${ground}` }), el("b", {}, counts[name].toLocaleString()), " ", words)),
      el("span", { class: "soft" }, say(`of ${total.toLocaleString()} rows`, `共 ${total.toLocaleString()} 条`))),
  ];
}

// Slices whose interval excludes zero, widest change first; named, not proven: many were looked at.
function changedSlices(data, number) {
  const score = data.scores[0], all = data.systems[number].differences;
  const found = all.filter((figure) => figure[0] === score.name && figure[1] && direction(score, figure) !== "open");
  found.sort((a, b) => Math.abs(b[5]) - Math.abs(a[5]));
  if (!found.length) return null;
  const looked = all.filter((figure) => figure[0] === score.name && figure[1]).length;
  return el("div", {},
    el("ul", { class: "reasons" }, found.slice(0, 4).map((figure) => el("li", {},
      `${columnName(figure[1])} `, el("b", {}, figure[2]), " ",
      el("span", { class: `number ${direction(score, figure)}` }, differenceText(score, figure))))),
    el("p", { class: "soft small" }, say(
      `${found.length} of ${looked} slices have an interval without zero; with so many looked at, one or two may by chance.`,
      `${looked} 个切片中有 ${found.length} 个的区间不含零；切片多时，个别可能出于偶然。`)));
}

function overallTable(data) {
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, el("th", {}, say("all rows", "全部行")),
      data.systems.map((system, number) => [
        el("th", { class: "number", style: `color:${colour(number)}` }, letter(number)),
        number ? el("th", { class: "number" }, `${letter(number)} ${MINUS} ${letter(0)}`) : null]))),
    el("tbody", {}, data.scores.map((score) => el("tr", {},
      el("td", {}, scoreName(score.name), el("span", { class: "soft", title: say("better this way", "此方向更好") }, score.higher ? " ↑" : " ↓")),
      data.systems.map((system, number) => {
        const change = number && overall(system.differences, score), own = overall(system.figures, score);
        return [el("td", { class: "number" }, own ? figureText(score, own[5]) : "—"),
          number ? el("td", { class: `number change ${change ? direction(score, change) : ""}` }, change ? differenceText(score, change) : "—") : null];
      }))))));
}

const letter = (number) => String.fromCharCode(65 + number);

function summary(data) {
  const rows = data.rows.ids.map((_, row) => row);
  const others = data.systems.map((_, number) => number).slice(1);
  return el("section", { id: "summary", class: "card summary" },
    el("div", {}, others.map((number) => el("div", {}, lead(data, number), tallies(data, number, rows), changedSlices(data, number)))),
    overallTable(data));
}

function findingLine(data, finding) {
  const [, , kind, mark] = OUTCOMES[finding.outcome], figure = finding.figure;
  const bar = data.bars.find((one) => one.words === finding.bar);
  const where = figure && figure.slice ? ` · ${columnName(figure.slice)} ${figure.value}` : "";
  return el("li", {}, el("span", { class: kind, "aria-label": named(OUTCOMES, finding.outcome) }, mark),
    el("div", {}, (bar ? barText(bar, data) : finding.bar) + where, el("div", { class: "why", title: finding.reason }, reason(data, finding))));
}

// The figure in the reader's language; where there is none, the ledger's own words, which are beside it anyway.
function reason(data, finding) {
  const figure = finding.figure, score = figure && data.scores.find((one) => one.name === figure.score);
  if (!score || figure.estimate === null || !/\d rows of/.test(finding.reason)) return named(REASONS, finding.reason);
  const relative = finding.reason.startsWith("candidate");
  const short = [figure.score, null, null, figure.rows, figure.clusters, figure.estimate, figure.low, figure.high];
  const ends = figure.low === null ? "" : ` [${figureText(score, figure.low)}, ${figureText(score, figure.high)}]`;
  const found = relative ? say("candidate − champion ", "候选 − 现任 ") + differenceText(score, short) : figureText(score, figure.estimate) + ends;
  return found + say(` on ${figure.rows} rows of ${figure.clusters} independent callers`, `，${figure.rows} 条，${figure.clusters} 位独立来电人`);
}

function verdictCard(data, system, number) {
  const verdict = system.verdict, [, , kind] = verdict ? OUTCOMES[verdict.outcome] : ["", "", ""];
  const open = verdict ? verdict.findings.filter((finding) => finding.outcome !== "passed") : [];
  const passed = verdict ? verdict.findings.filter((finding) => finding.outcome === "passed") : [];
  const list = (findings) => el("ul", { class: "findings" }, findings.map((finding) => findingLine(data, finding)));
  return el("div", { class: "card verdict", style: `--colour:${colour(number)}` },
    el("div", { class: "row" }, el("h3", {}, `${letter(number)} · ${system.name}`),
      el("span", { class: `badge ${kind}` }, verdict ? named(OUTCOMES, verdict.outcome) : say("not judged", "尚未评判")),
      number === 0 ? el("span", { class: "badge" }, say("baseline", "基准")) : null,
      system.champion ? el("span", { class: "badge" }, say("champion", "现任")) : null),
    system.note ? el("p", { class: "warning" }, system.note) : null,
    verdict ? [open.length ? list(open) : null,
      passed.length ? el("details", { open: !open.length && passed.length <= 8 && data.systems.length < 3 }, el("summary", {}, say(`${passed.length} findings passed`, `${passed.length} 项通过`)), list(passed)) : null]
      : !system.digest ? el("p", { class: "soft small" }, say("Unattested: an endpoint shows no bytes. It is compared, never judged or promoted.", "未经证实：外部接口无法出示模型文件，只可对比，不能评审或上线。"), system.usage ? ` ${system.usage}` : "")
      : el("p", { class: "soft small" }, say(`hotline judge ${system.name} writes a verdict; a comparison entitles to nothing.`, `hotline judge ${system.name} 会写出裁决；对比本身不构成上线依据。`)),
    el("dl", {}, facts(data, system).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}

function facts(data, system) {
  const verdict = system.verdict;
  const run = system.run_address ? el("a", { href: system.run_address }, system.run) : el("code", {}, system.run || "—");
  const other = verdict && (verdict.snapshot !== data.snapshot || verdict.rows !== data.test_rows);
  return [
    [say("MLflow run", "MLflow 运行"), run],
    [say("digest", "摘要"), code(system.digest)],
    [say("trained on", "训练快照"), code(system.trained_on)],
    verdict ? [say("judged", "评判"), [`${verdict.time.slice(0, 16).replace("T", " ")} UTC, `, say("ledger entry ", "台账第 "), `${verdict.entry}`, say("", " 条")]] : null,
    other ? [say("note", "注意"), el("span", { class: "open" }, say("judged on other test rows than these", "评判所用测试行与此处不同"))] : null,
  ].filter(Boolean);
}

function verdicts(data) {
  return el("section", { id: "verdicts" }, el("div", { class: "heading" }, el("h2", {}, say("Verdicts", "裁决"))),
    el("div", { class: "verdicts" }, data.systems.map((system, number) => verdictCard(data, system, number))));
}
