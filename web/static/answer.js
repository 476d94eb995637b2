// The console of a published copy: runs the statement in this browser (engine.js) and fills in the answer. Its HTML is the
// server's, an answer with a cell of each kind; so are limits, notes, charts, and the columns that lead somewhere.
(function () {
  "use strict";
  const rules = JSON.parse(document.getElementById("in-browser").textContent);
  const { content } = document.getElementById("answered");
  const place = document.getElementById("asked");
  const form = document.querySelector("form.query");
  const button = form.querySelector("button");
  const state = form.querySelector(".choices [role=status]");
  const full = (address) => new URL(address.url, location.href).href;
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;
  const quoted = (text, mark) => mark + text.replaceAll(mark, mark + mark) + mark;
  const INTEGER = /^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$/;
  const NUMBER = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$/;

  // --- the engine, by the messages of its worker
  let engine = null;
  async function start(atlases) {
    engine?.worker.terminate();
    const worker = new Worker(full(rules.worker));
    const waiting = [];
    engine = { worker, atlases, call: (type, data = null) => new Promise(function (done, fail) {
      waiting.push({ done, fail });
      worker.postMessage({ messageId: waiting.length - 1, type, data });
    }) };
    worker.onmessage = function ({ data }) {
      const { read, type, requestId, data: result } = data;
      if (read) state.textContent = `${megabytes(read.bytes)} of the file read, in ${read.requests} requests.`;
      else if (type === "INSTANTIATE_PROGRESS") state.textContent = `DuckDB: ${megabytes(result.bytesLoaded)} of 34 MB.`;
      else if (type === "ERROR") waiting[requestId || 0].fail(new Error(result.message));
      else if (type !== "LOG") waiting[requestId || 0].done(result);
    };
    const { atlases: published } = await (await fetch(full(rules.state))).json();
    const catalog = function ({ slug, url }, at) {
      const { build, builds } = published[slug];
      return full({ url: `${rules.archives.url}/${slug}/${builds[(at === 0 && /@(\w+)\//.exec(url)?.[1]) || build].folder}/catalog.bin` });
    };
    const open = atlases.map((atlas, at) => ({ url: full(atlas), catalog: catalog(atlas, at) }));
    await new Promise(function (done, fail) {
      waiting.push({ done, fail });
      worker.postMessage({ open, engine: full(rules.engine) });
    });
    await engine.call("INSTANTIATE", [full(rules.wasm), null]);
    await engine.call("OPEN", { filesystem: { reliableHeadRequests: true, allowFullHTTPReads: false, forceFullHTTPReads: false } });
    engine.connection = await engine.call("CONNECT");
    for (const sql of [...atlases.map(({ name }, at) => `ATTACH ${quoted(open[at].url, "'")} AS ${name} (READ_ONLY)`), `USE ${atlases[0].name}`,
      ...["errors_as_json = true", "autoinstall_known_extensions = false", "autoload_known_extensions = false"].map((set) => `SET ${set}`)]) await run(sql);
  }

  const run = (sql) => engine.call("RUN_QUERY", [engine.connection, sql]);

  async function csv(sql) {
    await run(`COPY (${sql}) TO 'answer.csv' (FORMAT csv, HEADER)`);
    const bytes = await engine.call("COPY_FILE_TO_BUFFER", "answer.csv");
    await engine.call("DROP_FILE", "answer.csv");
    return new TextDecoder().decode(bytes);
  }

  function cells(text) {
    const rows = [[]];
    for (const [, cell, end] of text.matchAll(/("(?:[^"]|"")*"|[^",\n]*)(,|\n)/g)) {
      rows.at(-1).push(cell === "" ? null : cell[0] === '"' ? cell.slice(1, -1).replaceAll('""', '"') : cell);
      if (end === "\n") rows.push([]);
    }
    return rows.slice(0, -1);
  }

  // --- asking
  async function answered(query) {
    const before = 'CREATE OR REPLACE TEMP TABLE "the answer" AS FROM (\n';
    const written = query.get("sql").replace(/[\s;]+$/, "");
    const sql = written.replace(form.tokens, (...match) => (match[5] && query.has("p." + match[5].slice(1)) ? quoted(query.get("p." + match[5].slice(1)), "'") : match[0]));
    const atlases = rules.atlases.filter(({ name }, at) => at === 0 || written.includes(name));
    if (!atlases.every((atlas) => engine?.atlases.includes(atlas))) await start(atlases);
    try {
      await run(`${before}${sql}\n) LIMIT ${rules.rows + 1}`);
    } catch (error) {
      const record = /\{.*\}$/s.exec(error.message);
      if (!record) throw error;
      const { exception_type: type, exception_message: message, position } = JSON.parse(record[0]);
      const at = written === sql && position >= before.length ? new TextDecoder().decode(new TextEncoder().encode(sql).slice(0, position - before.length)).length : null;
      throw Object.assign(new Error(`${type} Error: ${message}`), { at, sql });
    }
    const text = await csv(`FROM "the answer" LIMIT ${rules.rows}`);
    const [columns, ...rows] = cells(text);
    const types = cells(await csv('FROM (DESCRIBE "the answer")')).slice(1).map((row) => row[1]);
    const cut = cells(await csv('SELECT count(*) FROM "the answer"'))[1][0] > rules.rows;
    const names = Array.from(sql.matchAll(/\b(?:from|join)\s+"?(\w+)|(\w+)\s*\(/gi), ([, table, macro]) => table || macro);
    const lists = new Map(); // what a reader must know of lists that are cut (see atlas/topics/cut_list.py)
    for (const name of new Set(names)) if (rules.lists[name]) lists.set(rules.lists[name], [...(lists.get(rules.lists[name]) || []), name]);
    const notes = Array.from(lists, ([words, names]) => `${names.join(" and ")} ${names.length > 1 ? "store" : "stores"} ${words}`);
    return { columns, types, rows, text, cut, notes: cut ? [rules.cut, ...notes] : notes };
  }

  // --- showing, as atlas/core/display.py and web/templates/_answer.html do
  const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");
  function shownNumber(text, type) {
    const value = Number(text);
    if (INTEGER.test(type)) return grouped(text).replace("-", "−");
    if (!value || !Number.isFinite(value)) return value === 0 ? "0" : text;
    const power = Number(value.toExponential(5).split("e")[1]);
    const plain = power >= -4 && power < 7;
    const shown = plain ? value.toFixed(Math.max(0, 5 - power)).replace(/\d+/, grouped) : value.toExponential(5).replace(/e(.)(\d)$/, "e$10$2");
    return shown.replaceAll("-", "−");
  }

  const HIDDEN = /(?! )[\p{C}\p{Z}\u034F\u115F\u1160\u17B4\u17B5\u2800\u3164\uFFA0\uFE00-\uFE0F\u{E0100}-\u{E01EF}]/gu;
  function escaped(mark) {
    const code = mark.codePointAt(0);
    const [letter, digits] = code < 256 ? ["x", 2] : code < 65536 ? ["u", 4] : ["U", 8];
    return { "\t": "\\t", "\r": "\\r" }[mark] || `\\${letter}${code.toString(16).padStart(digits, "0")}`;
  }
  function spaced(text, everywhere = false) {
    const shown = text.split("\n").map((line) => line.replace(HIDDEN, escaped).replace(/^\p{M}/u, "◌$&")).join("↵");
    const [start, end] = [shown.search(/[^ ]|$/), shown.trimEnd().length];
    return Array.from(shown.matchAll(/ |[^ ]+/g), function ({ 0: part, index }) {
      if (part !== " " || !(everywhere || index < start || index >= end)) return part;
      return Object.assign(document.createElement("span"), { className: "space", textContent: " " });
    });
  }

  function cell(samples, column, type, text) {
    const linked = Object.keys(rules.linked).find((kind) => new RegExp(`^(?:${rules.linked[kind]})$`).test(column));
    const fits = linked === "token_id" ? INTEGER.test(type) : type === "VARCHAR" && (linked !== "neuron" || /^L\d+N\d+$/i.test(text));
    const kind = text === null ? "nothing" : linked && fits ? linked : NUMBER.test(type) ? "number" : "words";
    const item = samples[kind].cloneNode(true);
    const link = item.querySelector("a");
    if (link) link.href = link.getAttribute("href").slice(0, -String(rules.cells[kind]).length) + encodeURIComponent(text);
    if (kind === "number") [item.title, item.textContent] = [text, shownNumber(text, type)];
    else if (kind !== "nothing") (link || item).replaceChildren(...spaced(text, kind === "token"));
    return item;
  }

  function choose(select, names, name) {
    select.replaceChildren(...names.map((text) => new Option(text, text, false, text === name)));
  }

  function draw(answer, query, figure, choice) {
    const { columns, types } = answer;
    const number = (name) => NUMBER.test(types[columns.indexOf(name)]);
    const placed = (name) => rules.charts.places.includes(name) || name.endsWith("_id");
    const sides = [columns.filter((name) => !number(name)), columns.filter((name) => number(name) && placed(name)),
      columns.filter((name) => number(name) && !placed(name))];
    const x = query.get("x") || [...sides[0], ...sides[1], columns[0]][0];
    const y = query.get("y") || [...sides[2], ...sides[1], columns.at(-1)].find((name) => name !== x) || x;
    for (const [select, name] of [["x", x], ["y", y]]) choose(choice.elements[select], columns, name);
    if (query.get("draw")) choice.elements.draw.value = query.get("draw");
    const common = rules.charts.kinds[query.get("draw")];
    if (!common || !columns.includes(x) || !columns.includes(y)) return figure.remove();
    const values = (name) => answer.rows.slice(0, rules.charts.most).map((row) => row[columns.indexOf(name)]).map((text) => (
      text !== null && number(name) ? (Number.isFinite(Number(text)) ? Number(text) : null) : text));
    const [xs, ys] = [values(x), values(y)];
    const kind = (name) => (INTEGER.test(types[columns.indexOf(name)]) ? "integer" : number(name) ? "quantitative" : "nominal");
    const bars = query.get("draw") === "bar" && kind(x) === "integer" && new Set(xs).size === xs.length && xs.length <= rules.charts.most_bars;
    const encoding = { x: { ...rules.charts.x[bars ? "ordinal" : kind(x)], title: x }, y: { ...rules.charts.y[kind(y)], title: y } };
    encoding.tooltip = ["x", "y"].map((field) => ({ field, type: encoding[field].type }));
    const title = figure.querySelector(".drawing").getAttribute("aria-label").replace("y by x", `${y} by ${x}`);
    const spec = { ...common, encoding, title, datasets: { [rules.charts.rows]: xs.map((value, at) => ({ x: value, y: ys[at] })) } };
    figure.querySelector("script").textContent = JSON.stringify(spec);
    figure.querySelector(".drawing").setAttribute("aria-label", title);
    figure.querySelector("figcaption").textContent = `${xs.length.toLocaleString("en")} rows.`;
    figure.querySelectorAll("th").forEach((head, at) => (head.textContent = [x, y][at]));
    const row = figure.querySelector("tbody tr");
    row.parentNode.replaceChildren(...xs.map(function (value, at) {
      const copy = row.cloneNode(true);
      [value, ys[at]].forEach((shown, side) => (copy.children[side].textContent = shown ?? "–"));
      return copy;
    }));
  }

  function show(answer, query) {
    const section = content.getElementById("answer").cloneNode(true);
    const { columns, types, rows, text, cut, notes } = answer;
    const heading = section.querySelector("h2");
    heading.textContent = `${rows.length.toLocaleString("en")} row${rows.length === 1 ? "" : "s"}${rows.length > rules.shown ? `, the first ${rules.shown.toLocaleString("en")} shown` : ""}`;
    const note = section.querySelector(".notice");
    note.replaceWith(...notes.map((words) => Object.assign(note.cloneNode(), { textContent: words })));
    const values = rows.map((row) => `[${row.map((value, at) => (value !== null && NUMBER.test(types[at]) && Number.isFinite(Number(value)) ? value : JSON.stringify(value))).join(",")}]`);
    const json = `{"columns":${JSON.stringify(columns)},"types":${JSON.stringify(types)},"truncated":${cut},"rows":[\n${values.join(",\n")}]}`;
    section.querySelectorAll(".choices a").forEach(function (link, at) {
      const [name, file] = [["answer.csv", text], ["answer.json", json]][at];
      Object.assign(link, { download: name, href: URL.createObjectURL(new Blob([file])) });
    });
    section.querySelector(".citation code").textContent = location.href;
    draw(answer, query, section.querySelector("figure"), section.querySelector(".drawing-form"));
    const table = section.querySelector(".scroll[aria-label=Answer] table");
    const head = table.querySelector("th");
    head.parentNode.replaceChildren(...columns.map((name, at) => Object.assign(head.cloneNode(), { textContent: name, title: types[at] })));
    const names = [...table.tBodies[0].rows[0].cells].map((item, at) => [rules.kinds[at], item]);
    const samples = Object.fromEntries(names);
    table.tBodies[0].replaceChildren(...rows.slice(0, rules.shown).map(function (row) {
      const line = document.createElement("tr");
      line.append(...row.map((value, at) => cell(samples, columns[at], types[at], value)));
      return line;
    }));
    place.replaceChildren(section);
    document.dispatchEvent(new CustomEvent("loaded", { detail: place }));
  }

  function fail(error) {
    const section = content.querySelector(".problem").cloneNode(true);
    const [text, wrong] = [section.querySelector("p"), section.querySelector("pre")];
    text.textContent = error.message;
    if (error.at === null || error.at === undefined) wrong.remove();
    else {
      const word = /"(?:[^"]|"")*"?|'(?:[^']|'')*'?|\w+|\S|$/y;
      word.lastIndex = error.at;
      const mark = Object.assign(wrong.querySelector("mark"), { textContent: word.exec(error.sql)[0] });
      wrong.firstChild.replaceChildren(error.sql.slice(0, error.at), mark, error.sql.slice(error.at + mark.textContent.length));
    }
    place.replaceChildren(section);
  }

  // --- the address holds the query, and its answer is that of the page
  let last = [];
  async function go(query) {
    if (location.search !== `?${query}`) history.pushState(null, "", `?${query}`);
    form.dispatchEvent(new Event("asked"));
    button.textContent = "Stop";
    try {
      const statement = JSON.stringify([...query].filter(([name]) => !["draw", "x", "y"].includes(name)));
      if (last[0] !== statement) last = [statement, await answered(query)];
      show(last[1], query);
    } catch (error) {
      fail(error);
    }
    button.textContent = "Run";
  }

  function fill(query) {
    form.elements.sql.value = query.get("sql");
    form.elements.sql.dispatchEvent(new Event("input"));
    for (const [name, value] of query) if (name.startsWith("p.") && form.elements[name]) form.elements[name].value = value;
  }

  form.addEventListener("submit", function (event) {
    event.preventDefault();
    if (button.textContent === "Run") return form.elements.sql.value.trim() && go(new URLSearchParams(new FormData(form)));
    engine?.worker.terminate();
    [engine, button.textContent, state.textContent] = [null, "Run", "Stopped."];
  });
  place.addEventListener("submit", function (event) {
    event.preventDefault();
    const query = new URLSearchParams(location.search);
    for (const [name, value] of new FormData(event.target)) if (name !== "sql") query.set(name, value);
    go(query);
  });
  document.addEventListener("click", function (event) {
    const link = event.target.closest("aside a[href]");
    if (!link || link.pathname !== location.pathname || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    fill(new URLSearchParams(link.search));
    go(new URLSearchParams(link.search));
  });
  addEventListener("popstate", () => location.reload());
  const query = new URLSearchParams(location.search);
  if (query.has("sql")) {
    fill(query);
    caches.match(full(rules.wasm)).then((kept) => kept && go(query)); // else it is large: the reader asks for it
  }
})();
