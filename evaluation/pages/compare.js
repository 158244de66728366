// The page: unpacked once, drawn again when the language changes; filters stay.
function render(data) {
  showLanguage();
  data.choose = (column, wanted) => {
    if (!(column in data.rows.columns)) return;
    view.columns = { [column]: wanted };
    Object.assign(view, { confusion: null, page: 0 });
    data.showRows();
  };
  data.chooseConfusion = (truth, said) => { Object.assign(view, { confusion: [truth, said], columns: {}, kind: "all", text: "", page: 0 }); data.showRows(); };
  const sections = [summary(data), verdicts(data), slices(data), training(data), labelsView(data), rowsView(data)].filter(Boolean);
  const names = { summary: say("Overview", "概览"), verdicts: say("Verdicts", "裁决"), slices: say("Slices", "切片"), training: say("Training", "训练"), labels: say("Labels", "分类"), rows: say("Rows", "逐条") };
  const page = $("#page");
  page.replaceChildren(
    el("div", { class: "top" }, el("nav", { "aria-label": say("Sections", "章节") }, sections.map((section) => el("a", { href: `#${section.id}` }, names[section.id]))),
      el("button", { onclick: () => print() }, say("Print", "打印")), languageButton(() => render(data))),
    el("main", {}, title(data), sections, el("footer", {},
      say("A comparison entitles to nothing: a version is promoted on a signed verdict alone. This page holds what callers said; keep it as you keep the corpus. Test rows ", "对比本身不构成上线依据：只有签名裁决才能让版本上线。本页含来电内容，请按语料的要求保管。测试行摘要 "), code(data.test_rows))));
  page.removeAttribute("aria-busy");
}

unpack("data").then((data) => { render(data); addEventListener("keydown", keys); document.body.dataset.ready = "yes"; })
  .catch((error) => { $("#page").textContent = `${error}: this browser cannot unpack the page (Chrome or Edge 80, Firefox 113, Safari 16.4 or newer can).`; });
