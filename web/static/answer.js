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
  const quoted = (text) => `'${text.replaceAll("'", "''")}'`;
  const INTEGER = /^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$/;
  const NUMBER = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE)$/;

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
    worker.onmessage = function ({ data: { read, type, requestId, data: result } }) {
      if (read) state.textContent = `${megabytes(read.bytes)} of the file read, in ${read.requests} requests.`;
      else if (type === "INSTANTIATE_PROGRESS") state.textContent = `DuckDB: ${megabytes(result.bytesLoaded)} of 34 MB.`;
      else if (type === "ERROR") waiting[requestId || 0].fail(new Error(result.message));
      else if (type !== "LOG") waiting[requestId || 0].done(result);
    };
    const { atlases: published } = await (await fetch(full(rules.state))).json();
    const open = atlases.map(function ({ slug, url }) {
      const { build, builds } = published[slug];
      const pin = /@(\w+)/.exec(url)?.[1] || build; // the current build has its file at the address without a pin
      const catalog = `${rules.archives.url}/${slug}/${builds[pin].folder}/catalog.bin`;
      return { url: full({ url: pin === build ? url.replace(`@${pin}`, "") : url }), catalog: full({ url: catalog }) };
    });
    await engine.call("START", { open, engine: full(rules.engine) });
    await engine.call("INSTANTIATE", [full(rules.wasm), null]);
    await engine.call("OPEN", { filesystem: { reliableHeadRequests: true, allowFullHTTPReads: false, forceFullHTTPReads: false } });
    engine.connection = await engine.call("CONNECT");
    state.textContent = "DuckDB is loaded.";
    const attached = atlases.map(({ name }, at) => `ATTACH ${quoted(open[at].url)} AS ${name} (READ_ONLY);`).join("");
    await run(`SET errors_as_json = true; SET autoinstall_known_extensions = false; SET autoload_known_extensions = false;
      ${attached} USE ${atlases[0].name}`);
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
    const value = (name) => (query.has(`p.${name}`) ? quoted(query.get(`p.${name}`)) : null);
    const sql = written.replace(form.tokens, (...match) => (match[5] && value(match[5].slice(1))) || match[0]);
    const atlases = rules.atlases.filter(({ name }, at) => at === 0 || written.includes(name));
    if (!atlases.every((atlas) => engine?.atlases.includes(atlas))) await start(atlases).catch((error) => { engine = null; throw error; });
    try {
      await run(`${before}${sql}\n) LIMIT ${rules.rows + 1}`);
    } catch (error) {
      const record = /\{.*\}$/s.exec(error.message);
      if (!record) throw error;
      const { exception_type: type, exception_message: message, position } = JSON.parse(record[0]);
      const bytes = new TextEncoder().encode(sql).slice(0, Math.max(0, position - before.length)); // DuckDB counts bytes
      const ends = position - before.length >= new TextEncoder().encode(sql).length; // at a bracket of ours
      const at = written === sql && position >= before.length ? new TextDecoder().decode(bytes).length : null;
      const read = /failed with error: Error: ([^"]*)/.exec(message); // an error of engine.js
      throw Object.assign(new Error(read ? read[1] : `${type} Error: ${ends ? message.replace(/at or near "\)"/, "at the end") : message}`), { at, sql });
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
    const value = type === "FLOAT" ? Math.fround(text) : Number(text);
    if (INTEGER.test(type)) return grouped(text).replace("-", "−");
    if (!value || !Number.isFinite(value)) return value === 0 ? "0" : text;
    const power = Number(value.toExponential(5).split("e")[1]);
    const plain = power >= -4 && power < 7;
    const shown = plain ? value.toFixed(Math.max(0, 5 - power)).replace(/\d+/, grouped) : value.toExponential(5);
    return shown.replace(/e(.)(\d)$/, "e$10$2").replaceAll("-", "−");
  }

  const HIDDEN = /(?! )[\p{C}\p{Z}\u034F\u115F\u1160\u17B4\u17B5\u2800\u3164\uFFA0\uFE00-\uFE0F\u{E0100}-\u{E01EF}]/gu;
  function escaped(mark) {
    const code = mark.codePointAt(0).toString(16);
    const digits = code.length < 3 ? 2 : code.length < 5 ? 4 : 8;
    return { "\t": "\\t", "\r": "\\r" }[mark] || `\\${{ 2: "x", 4: "u", 8: "U" }[digits]}${code.padStart(digits, "0")}`;
  }
  function spaced(text, everywhere = false) {
    const shown = text.split("\n").map((line) => line.replace(HIDDEN, escaped).replace(/^\p{M}/u, "◌$&")).join("↵");
    const [start, end] = [shown.search(/[^ ]|$/), shown.trimEnd().length];
    return Array.from(shown.matchAll(/ |[^ ]+/g), function ({ 0: part, index }) {
      if (part !== " " || !(everywhere || index < start || index >= end)) return part;
      return Object.assign(document.createElement("span"), { className: "space", textContent: " " });
    });
  }

  const LINKED = Object.entries(rules.linked).map(([kind, columns]) => [kind, new RegExp(`^(?:${columns})$`)]);
  function cell(samples, column, type, text) {
    const linked = LINKED.find(([, columns]) => columns.test(column))?.[0];
    const fits = linked === "token_id" ? INTEGER.test(type) : type === "VARCHAR" && (linked !== "neuron" || /^L\d+N\d+$/i.test(text));
    const kind = text === null ? "nothing" : linked && fits ? linked : NUMBER.test(type) ? "number" : "words";
    const item = samples[kind].cloneNode(true);
    const link = item.querySelector("a");
    if (link) link.href = link.getAttribute("href").slice(0, -String(rules.cells[kind]).length) + encodeURIComponent(text);
    if (kind === "number") [item.title, item.textContent] = [text, shownNumber(text, type)];
    else if (kind !== "nothing") (link || item).replaceChildren(...spaced(text, kind === "token"));
    return item;
  }

  function draw(answer, query, figure, choice) {
    const { charts } = rules;
    const kinds = Object.fromEntries(answer.columns.map((name, at) => [name,
      INTEGER.test(answer.types[at]) ? "integer" : /FLOAT|DOUBLE|DECIMAL/.test(answer.types[at]) ? "quantitative" : "nominal"]));
    const names = answer.columns.filter((name) => kinds[name] === "nominal");
    const places = answer.columns.filter((name) => !names.includes(name) && (charts.places.includes(name) || name.endsWith("_id")));
    const values = answer.columns.filter((name) => !names.includes(name) && !places.includes(name));
    const x = query.get("x") || [...names, ...places, answer.columns[0]][0];
    const y = query.get("y") || [...values, ...places].find((name) => name !== x) || answer.columns.at(-1);
    const options = (chosen) => answer.columns.map((name) => new Option(name, name, false, name === chosen));
    for (const [side, chosen] of [["x", x], ["y", y]]) choice.elements[side].replaceChildren(...options(chosen));
    const kind = query.get("draw");
    if (kind) choice.elements.draw.value = kind;
    if (!charts.kinds[kind] || !kinds[x] || !kinds[y]) return figure.remove();
    const [xs, ys] = [x, y].map((name) => answer.rows.slice(0, charts.most).map((row) => row[answer.columns.indexOf(name)]).map(
      (text) => (text === null || kinds[name] === "nominal" ? text : Number.isFinite(Number(text)) ? Number(text) : null)));
    const each = kind === "bar" && kinds[x] === "integer" && new Set(xs).size === xs.length && xs.length <= charts.most_bars;
    const encoding = { x: { ...charts.x[each ? "ordinal" : kinds[x]], title: x }, y: { ...charts.y[kinds[y]], title: y } };
    encoding.tooltip = ["x", "y"].map((field) => ({ field, type: encoding[field].type }));
    const drawing = figure.querySelector(".drawing");
    const title = drawing.getAttribute("aria-label").replace("y by x", `${y} by ${x}`);
    figure.querySelector("script").textContent = JSON.stringify({ ...charts.kinds[kind], encoding, title, columns: { x: xs, y: ys }, sparse: [] });
    drawing.setAttribute("aria-label", title);
    figure.querySelector("figcaption").textContent = `${grouped(`${xs.length}`)} rows.`;
    figure.querySelector("details").remove(); // the answer itself follows
  }

  function show(answer, query) {
    const { columns, types, rows, text, cut, notes } = answer;
    const section = content.getElementById("answer").cloneNode(true);
    const first = rows.length > rules.shown ? `, the first ${grouped(`${rules.shown}`)} shown` : "";
    section.querySelector("h2").textContent = `${grouped(`${rows.length}`)} row${rows.length === 1 ? "" : "s"}${first}`;
    const note = section.querySelector(".notice");
    note.replaceWith(...notes.map((words) => Object.assign(note.cloneNode(), { textContent: words })));
    const json = (value, at) => (value !== null && NUMBER.test(types[at]) && Number.isFinite(Number(value)) ? value : JSON.stringify(value));
    const whole = `${JSON.stringify({ columns, types, truncated: cut }).slice(0, -1)},"rows":[\n${rows.map((row) => `[${row.map(json)}]`).join(",\n")}]}`;
    section.querySelectorAll(".choices a").forEach(function (link, at) {
      const [download, file] = [["answer.csv", text], ["answer.json", whole]][at];
      Object.assign(link, { download, href: URL.createObjectURL(new Blob([file])) });
    });
    section.querySelector(".citation code").textContent = location.href;
    draw(answer, query, section.querySelector("figure"), section.querySelector(".drawing-form"));
    const table = section.querySelector("[aria-label=Answer] table");
    const head = table.querySelector("th");
    head.parentNode.replaceChildren(...columns.map((name, at) => Object.assign(head.cloneNode(), { textContent: name, title: types[at] })));
    const samples = Object.fromEntries(Array.from(table.tBodies[0].rows[0].cells, (item, at) => [rules.kinds[at], item]));
    table.tBodies[0].replaceChildren(...rows.slice(0, rules.shown).map(function (row) {
      const line = document.createElement("tr");
      line.append(...row.map((value, at) => cell(samples, columns[at], types[at], value)));
      return line;
    }));
    place.replaceChildren(section);
    document.dispatchEvent(new CustomEvent("loaded", { detail: place }));
  }

  function fail({ message, at, sql }) {
    const section = content.querySelector(".problem").cloneNode(true);
    const code = section.querySelector("pre code");
    section.querySelector("p").textContent = message;
    if (typeof at !== "number") code.parentNode.remove();
    else {
      const [word] = /^(?:"(?:[^"]|"")*"?|'(?:[^']|'')*'?|\w+|\S|$)/.exec(sql.slice(at));
      const mark = Object.assign(code.querySelector("mark"), { textContent: word });
      code.replaceChildren(sql.slice(0, at), mark, sql.slice(at + word.length));
    }
    place.replaceChildren(section);
  }

  // --- the address holds the query, and its answer is that of the page
  let [last, address] = [[], location.search];
  async function go(query) {
    if (location.search !== `?${query}`) history.pushState(null, "", `?${query}`);
    address = location.search;
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
    return query;
  }

  form.addEventListener("submit", function (event) {
    event.preventDefault();
    const [asked, before] = [new URLSearchParams(new FormData(form)), new URLSearchParams(location.search)];
    if (asked.get("sql") === before.get("sql")) for (const name of ["draw", "x", "y"]) if (before.get(name)) asked.set(name, before.get(name));
    if (button.textContent === "Run" && asked.get("sql").trim()) return go(asked);
    if (button.textContent === "Run") return place.replaceChildren(), history.pushState(null, "", location.pathname);
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
    go(fill(new URLSearchParams(link.search)));
  });
  addEventListener("popstate", () => location.search !== address && location.reload());
  const query = new URLSearchParams(location.search);
  if (query.has("sql")) {
    fill(query);
    self.caches?.match(full(rules.wasm)).then((kept) => kept && go(query)); // else it is large: the reader asks for it
  }
})();
