// The SQL console: colours while one types, Ctrl-Enter, and what was asked before, kept in this browser only.
(function () {
  "use strict";
  const area = document.querySelector(".editor textarea");
  const shown = document.querySelector(".editor pre");
  const form = area.form;
  const WORDS = /^(?:select|from|where|group|by|order|limit|offset|having|with|as|join|left|right|inner|outer|full|cross|on|using|and|or|not|in|is|null|case|when|then|else|end|distinct|union|all|except|intersect|between|like|ilike|asc|desc|nulls|first|last|over|partition|window|filter|qualify|exists|values|describe|show|summarize|explain|true|false|recursive|materialized|lateral|pivot|unpivot|sample)$/i;
  const TOKEN = /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:[^']|'')*'?)|("(?:[^"]|"")*"?)|([:$][A-Za-z_]\w*)|(\d+(?:\.\d+)?(?:e[+-]?\d+)?)|([A-Za-z_]\w*)|([\s\S])/gi;

  function paint() {
    const parts = [];
    for (const found of area.value.matchAll(TOKEN)) {
      const [text, comment, string, name, parameter, number, word] = found;
      const kind = comment ? "comment" : string ? "string" : name ? "" : parameter ? "parameter" : number ? "number"
        : word && WORDS.test(word) ? "word" : "";
      const span = document.createElement("span");
      if (kind) span.className = "sql-" + kind;
      span.textContent = text;
      parts.push(span);
    }
    shown.replaceChildren(...parts, "\n");
    shown.scrollTop = area.scrollTop;
    shown.scrollLeft = area.scrollLeft;
  }
  document.querySelector(".editor").classList.add("painted");
  area.addEventListener("input", paint);
  area.addEventListener("scroll", paint);
  paint();

  area.addEventListener("keydown", function (event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });

  // --- what is saved is what stands in the editor, asked already or not
  const save = document.querySelector("form.save");
  if (save) {
    save.addEventListener("submit", function () {
      save.elements.sql.value = area.value;
      for (const field of form.querySelectorAll("[name^='p.']")) {
        const hidden = save.elements[field.name];
        if (hidden) hidden.value = field.value;
      }
    });
  }

  // --- what was asked before
  const KEY = "asked " + form.getAttribute("action");
  function read() {
    try { return JSON.parse(localStorage.getItem(KEY)) || []; } catch { return []; }
  }
  if (area.value.trim()) {
    const asked = [location.pathname + location.search, area.value.trim()];
    const rest = read().filter((item) => item[1] !== asked[1]);
    try { localStorage.setItem(KEY, JSON.stringify([asked, ...rest].slice(0, 20))); } catch { /* nothing is kept then */ }
  }
  const earlier = read();
  if (earlier.length) {
    const history = document.querySelector(".history");
    history.hidden = false;
    history.querySelector("ul").replaceChildren(
      ...earlier.map(function ([address, sql]) {
        const item = document.createElement("li");
        const link = document.createElement("a");
        link.href = address;
        link.textContent = sql.replace(/\s+/g, " ").slice(0, 80);
        item.append(link);
        return item;
      }),
    );
  }
})();
