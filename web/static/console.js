// The SQL console: colours while one types, fields for parameters, Ctrl-Enter, and recent queries, kept in this browser.
(function () {
  "use strict";
  const area = document.querySelector(".editor textarea");
  const painted = document.querySelector(".editor pre");
  const form = area.form;
  const WORDS = /^(?:select|from|where|group|by|order|limit|offset|having|with|as|join|left|right|inner|outer|full|cross|on|using|and|or|not|in|is|null|case|when|then|else|end|distinct|union|all|except|intersect|between|like|ilike|asc|desc|nulls|first|last|over|partition|window|filter|qualify|exists|values|describe|show|summarize|explain|true|false|recursive|materialized|lateral|pivot|unpivot|sample)$/i;
  const TOKEN = form.tokens = /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:[^']|'')*'?)|("(?:[^"]|"")*"?)|(::|:=)|([:$][A-Za-z_]\w*)|(\d+(?:\.\d+)?(?:e[+-]?\d+)?)|([A-Za-z_]\w*)|([\s\S])/gi;

  function paint() {
    const parts = [];
    for (const match of area.value.matchAll(TOKEN)) {
      const [text, comment, string, name, pair, parameter, number, word] = match;
      const kind = comment ? "comment" : string ? "string" : name || pair ? "" : parameter ? "parameter" : number ? "number"
        : word && WORDS.test(word) ? "word" : "";
      const span = document.createElement("span");
      if (kind) span.className = "sql-" + kind;
      span.textContent = text;
      parts.push(span);
    }
    painted.replaceChildren(...parts, "\n");
    grow();
    follow();
  }

  function follow() {
    painted.scrollTop = area.scrollTop;
    painted.scrollLeft = area.scrollLeft;
  }

  // --- the editor grows with the statement, up to most of the window
  function grow() {
    const least = Math.min(area.scrollHeight + 2, Math.round(window.innerHeight * 0.7));
    if (area.offsetHeight < least) area.style.height = least + "px";
  }

  // --- a field for each parameter of the statement; a value outlives the time in which its name is written anew
  const fields = form.querySelector(".parameters");
  const values = new Map();
  function ask() {
    const names = new Set();
    for (const match of area.value.matchAll(TOKEN)) if (match[5]) names.add(match[5].slice(1));
    for (const label of Array.from(fields.children)) {
      const input = label.querySelector("input");
      const name = input.name.slice(2);
      values.set(name, input.value);
      if (!names.delete(name)) label.remove();
    }
    for (const name of names) {
      const label = document.createElement("label");
      label.className = "parameter";
      const code = document.createElement("code");
      code.textContent = ":" + name;
      const input = document.createElement("input");
      input.name = "p." + name;
      input.value = values.get(name) || "";
      input.autocapitalize = "off";
      input.autocomplete = "off";
      input.spellcheck = false;
      label.append(code, " ", input);
      fields.append(label);
    }
  }

  document.querySelector(".editor").classList.add("painted");
  area.addEventListener("input", function () { paint(); ask(); });
  area.addEventListener("scroll", follow);
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

  // --- recent queries
  const KEY = "asked " + form.getAttribute("action");
  function read() {
    try { return JSON.parse(localStorage.getItem(KEY)) || []; } catch { return []; }
  }
  function remember() {
    if (!area.value.trim()) return;
    const asked = [location.pathname + location.search, area.value.trim()];
    const rest = read().filter((item) => item[1] !== asked[1]);
    try { localStorage.setItem(KEY, JSON.stringify([asked, ...rest].slice(0, 20))); } catch { /* then none are stored */ }
  }
  remember();
  form.addEventListener("asked", remember); // in a published copy
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
