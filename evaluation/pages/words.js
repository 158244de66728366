// The words of figures and verdicts.
const SCORES = {
  cer: ["CER", "字错误率"], utterance_cer: ["CER, mean of utterances", "逐句平均字错误率"], mer: ["Mixed error rate", "混合错误率"],
  entity_cer: ["CER inside entities", "实体字错误率"], substitutions: ["Substitutions", "替换率"],
  deletions: ["Deletions", "删除率"], insertions: ["Insertions", "插入率"], accuracy: ["Accuracy", "准确率"],
  macro_f1: ["Macro-F1", "宏平均 F1"], micro_f1: ["Micro-F1", "微平均 F1"], top3_accuracy: ["Top-3 accuracy", "前三准确率"],
  level1_accuracy: ["Accuracy at level 1", "一级分类准确率"], ece: ["Calibration error (ECE)", "校准误差（ECE）"],
  rouge_l: ["ROUGE-L", "ROUGE-L"], chrf: ["chrF", "chrF"], exact_match: ["Exact match", "完全一致率"],
  token_f1: ["Token F1", "字词 F1"], refusal_f1: ["F1 of refusing", "拒答 F1"], brier: ["Brier score", "Brier 分数"],
};
const COLUMNS = {
  dialect: ["Dialect", "方言"], region: ["Region", "区域"], channel: ["Channel", "渠道"], length: ["Length", "时长"],
  language: ["Language", "语言"], source: ["Source", "来源"], label_source: ["Label source", "标注来源"],
  label_batch: ["Label batch", "标注批次"],
};
const OUTCOMES = {
  passed: ["Passed", "通过", "good", "✓"], failed: ["Failed", "不通过", "bad", "✗"],
  "insufficient evidence": ["Insufficient evidence", "证据不足", "open", "?"],
};
const REASONS = {
  "this version is the champion": ["this version is the champion", "该版本即现任模型"],
  "first model of this task at this site: there is no champion to compare with": ["first model of this task at this site: there is no champion to compare with", "本站点该任务的首个模型，尚无现任可比"],
};
const named = (table, name) => (table[name] ? say(...table[name]) : name);
const scoreName = (name) => named(SCORES, name);
const columnName = (name) => named(COLUMNS, name);

const MINUS = "−";
const decimals = (value, places) => value.toFixed(places).replace("-", MINUS);

// A share is shown in per cent, its differences in points; anything else as it is.
function figureText(score, value) {
  if (value === null) return say("undefined", "无定义");
  return score.share ? `${decimals(100 * value, 1)} %` : decimals(value, 3);
}

function differenceText(score, [, , , , , estimate, low, high]) {
  if (estimate === null) return "—";
  const one = (value) => (value > 0 ? "+" : "") + decimals(score.share ? 100 * value : value, score.share ? 1 : 3);
  return one(estimate) + (low === null ? "" : ` [${one(low)}, ${one(high)}]`);
}

// better, worse, or open where the interval holds zero.
function direction(score, [, , , , , , low, high]) {
  if (low === null || high === null || (low <= 0 && high >= 0)) return "open";
  return low > 0 === score.higher ? "good" : "bad";
}

function barText(bar, task) {
  const score = scoreName(bar.score) + (language === "zh" && /[\w）]$/.test(scoreName(bar.score)) ? " " : "");
  const each = bar.slice ? say(` in every ${columnName(bar.slice).toLowerCase()}`, "") : "";
  const every = bar.slice ? `每个${columnName(bar.slice)}：` : "";
  const share = (task.scores.find((one) => one.name === bar.score) || {}).share;
  const limit = (value) => (share ? `${+(100 * value).toFixed(2)} %` : `${value}`);
  const margin = (value) => (share ? `${+(100 * value).toFixed(2)} ${say("points", "个百分点")}` : `${value}`);
  if (bar.at_least !== null) return say(`${score} at least ${limit(bar.at_least)}${each}`, `${every}${score}不低于 ${limit(bar.at_least)}`);
  if (bar.at_most !== null) return say(`${score} at most ${limit(bar.at_most)}${each}`, `${every}${score}不高于 ${limit(bar.at_most)}`);
  return say(`${score} not worse than the champion by ${margin(bar.margin)}${each}`, `${every}${score}比现任最多差 ${margin(bar.margin)}`);
}
