// Completion in the SQL console (WAI-ARIA list autocomplete): tables, macros, columns and words of SQL while one types a
// word, the atlas's tokens and neurons inside quotes. Down and Up choose, Enter or Tab insert, Escape closes. Nothing is
// chosen before an arrow key is pressed, so that Enter and Tab stay what they are.
(function () {
  "use strict";
  const area = document.querySelector(".editor textarea");
  const painted = document.querySelector(".editor pre");
  const form = area.form;
  const MOST = 8;
  const PAUSE = 120; // milliseconds after a key before tokens are asked for
  const WORDS = ("SELECT FROM WHERE GROUP BY ORDER LIMIT OFFSET HAVING WITH JOIN LEFT USING DISTINCT BETWEEN ILIKE DESC NULLS "
    + "LAST QUALIFY PIVOT UNPIVOT SUMMARIZE DESCRIBE UNION count avg sum min max list_dot_product").split(" ");
  // A comment, an unclosed one too; a text; a name in quotes; any other character.
  const PART = /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|'(?:[^']|'')*('?)|"(?:[^"]|"")*"?|[\s\S]/g;

  // --- the schema, as the page lists it
  const tables = Array.from(document.querySelectorAll("aside details.table"), function (table) {
    const macro = table.dataset.macro;
    return {
      label: table.dataset.name,
      text: macro === undefined ? table.dataset.name : table.dataset.name + "(",
      detail: macro === undefined ? table.dataset.kind : "macro (" + macro + ")",
      columns: Array.from(table.querySelectorAll("dt"), (column) => ({
        label: column.querySelector("code").textContent, detail: table.dataset.name,
      })),
    };
  });
  for (const table of tables) for (const column of table.columns) column.text = /^\w+$/.test(column.label)
    && !/^(?:index|text|interval)$/.test(column.label) ? column.label : '"' + column.label + '"';

  const list = document.createElement("ul");
  list.id = "completions";
  list.className = "suggestions";
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Completions");
  const status = document.createElement("span");
  status.className = "unseen";
  status.setAttribute("role", "status");
  area.parentNode.append(list, status);
  area.setAttribute("aria-autocomplete", "list");
  area.setAttribute("aria-controls", list.id);
  area.setAttribute("aria-haspopup", "listbox");

  let offers = [];
  let active = -1;
  let start = 0; // of what an offer replaces, up to the caret
  let timer = 0;
  let asking = null;

  function close() {
    window.clearTimeout(timer);
    if (asking) asking.abort();
    asking = null;
    offers = [];
    list.replaceChildren();
    list.hidden = true;
    highlight(-1);
  }

  function highlight(place) {
    active = place;
    Array.from(list.children).forEach((option, at) => option.setAttribute("aria-selected", String(at === place)));
    const option = place < 0 ? null : list.children[place];
    if (option) {
      area.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else {
      area.removeAttribute("aria-activedescendant");
    }
  }

  function show(from, matches) {
    if (!matches.length) return close();
    offers = matches.slice(0, MOST);
    start = from;
    list.replaceChildren(...offers.map(function (offer, place) {
      const option = document.createElement("li");
      option.id = "completion-" + place;
      option.setAttribute("role", "option");
      for (const [name, text] of [["unit", offer.label], ["detail", offer.detail || ""]]) {
        const span = document.createElement("span");
        span.className = name;
        span.textContent = text;
        option.append(span);
      }
      return option;
    }));
    list.hidden = false;
    highlight(-1);
    place(from);
    status.textContent = offers.length + " completions; Down to choose";
  }

  // --- below the line of the word, within the editor's width
  function place(offset) {
    const walker = document.createTreeWalker(painted, NodeFilter.SHOW_TEXT);
    let node = walker.nextNode();
    while (node && offset > node.length) {
      offset -= node.length;
      node = walker.nextNode();
    }
    if (!node) return;
    const range = document.createRange();
    range.setStart(node, offset);
    range.setEnd(node, Math.min(offset + 1, node.length));
    const box = range.getBoundingClientRect();
    const editor = area.parentNode.getBoundingClientRect();
    list.style.top = Math.min(box.bottom, editor.bottom) - editor.top + 4 + "px";
    list.style.left = Math.max(0, Math.min(box.left - editor.left, editor.width - list.offsetWidth)) + "px";
  }

  // --- where the caret stands: in a comment, in an open text (from where), or elsewhere
  function context(before) {
    let text = null;
    for (const match of before.matchAll(PART)) {
      const ends = match.index + match[0].length === before.length;
      if (!ends) continue;
      if (match[0].startsWith("--") || (match[0].startsWith("/*") && !/[^]\*\/$/.test(match[0]))) return "comment";
      if (match[0].startsWith("'") && !match[1]) text = match.index + 1;
    }
    return text;
  }

  function matching(items, word) {
    const small = word.toLowerCase();
    const begins = items.filter((item) => item.label.toLowerCase().startsWith(small));
    const within = small.length < 2 ? []
      : items.filter((item) => item.label.toLowerCase().includes(small) && !begins.includes(item));
    const seen = new Set();
    return [...begins, ...within].filter((item) => !seen.has(item.text) && seen.add(item.text));
  }

  function words(before, forced) {
    const word = /[A-Za-z_]\w*$/.exec(before) || (forced ? [""] : null);
    if (!word) return close();
    const from = before.length - word[0].length;
    const dot = /([A-Za-z_]\w*)\.$/.exec(before.slice(0, from));
    if (/[:$]$/.test(before.slice(0, from)) && !/::$/.test(before.slice(0, from))) return close();
    const named = new Map(tables.map((table) => [table.label.toLowerCase(), table]));
    const used = [];
    for (const match of area.value.matchAll(/([A-Za-z_]\w*)(?:\([^()]*\))?(?:\s+(?:as\s+)?([A-Za-z_]\w*))?/gi)) {
      const table = named.get(match[1].toLowerCase());
      if (table) used.push([table, match[2]]);
    }
    let items;
    if (dot) {
      const of = used.find(([table, alias]) => alias === dot[1] || table.label === dot[1]);
      items = of ? of[0].columns : tables.flatMap((table) => table.columns);
    } else {
      const near = used.flatMap(([table]) => table.columns);
      items = [...near, ...tables, ...WORDS.map((item) => ({ label: item, text: item }))];
    }
    const matches = matching(items, word[0]);
    if (!forced && matches.some((item) => item.label.toLowerCase() === word[0].toLowerCase())) return close();
    show(from, word[0] || dot || forced ? matches : []);
  }

  function texts(before, from) {
    const typed = before.slice(from).replace(/''/g, "'");
    if (!typed.trim()) return close();
    window.clearTimeout(timer);
    timer = window.setTimeout(function () {
      if (asking) asking.abort();
      const mine = (asking = new AbortController());
      fetch(form.dataset.suggest + "&q=" + encodeURIComponent(typed), { signal: mine.signal })
        .then((response) => (response.ok ? response.json() : { suggestions: [] }))
        .then(function (answer) {
          if (mine !== asking || area.selectionStart !== before.length) return;
          const matches = answer.suggestions
            .filter((item) => item.kind !== "layer")
            .map((item) => ({ label: item.label, detail: item.detail, text: item.text.replace(/'/g, "''") + "'" }));
          const like = (item) => item.text.replace(/''/g, "'").startsWith(typed);
          show(from, [...matches.filter(like), ...matches.filter((item) => !like(item))]);
        })
        .catch((error) => { if (error.name !== "AbortError") close(); });
    }, PAUSE);
  }

  function offer(forced) {
    if (area.selectionStart !== area.selectionEnd) return close();
    const before = area.value.slice(0, area.selectionStart);
    const where = context(before);
    if (where === "comment") close();
    else if (where === null) words(before, forced);
    else texts(before, where);
  }

  function insert(item) {
    const end = area.selectionStart;
    // The quote that stands behind the caret is the one that the text would end with.
    const until = item.text.endsWith("'") && area.value[end] === "'" ? end + 1 : end;
    area.focus();
    area.setSelectionRange(start, until);
    close();
    // Typed rather than set, so that the browser's undo takes it back.
    if (!document.execCommand("insertText", false, item.text)) {
      area.setRangeText(item.text, start, until, "end");
      area.dispatchEvent(new Event("input"));
    }
    close();
  }

  area.addEventListener("input", () => offer(false));
  area.addEventListener("blur", close);
  area.addEventListener("keydown", function (event) {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      offer(true);
      return;
    }
    if (list.hidden) return;
    if (event.key === "Escape") {
      event.preventDefault();
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      highlight(((active < 0 && step < 0 ? offers.length : active) + step + offers.length) % offers.length);
    } else if ((event.key === "Enter" || event.key === "Tab") && active >= 0 && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      insert(offers[active]);
    } else if (["ArrowLeft", "ArrowRight", "Home", "End", "Enter", "Tab"].includes(event.key)) {
      close();
    }
  });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // or the editor would lose focus, and close
  list.addEventListener("click", function (event) {
    const option = event.target.closest("[role='option']");
    if (option) insert(offers[Array.from(list.children).indexOf(option)]);
  });
})();
